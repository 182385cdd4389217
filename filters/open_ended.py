"""Questions of multiple choice as open ones: options taken out of the question, the right one's text as the answer.

DatBench's first stage (arXiv 2601.02316, 3.1); how options are found stands in `scoring_models.marking.options`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import types

from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.marking.gold import Gold
from poolsieve.scoring_models.marking.options import OPTIONS, are_options, choice_of, listing


class BadOptions(ValueError):
    """What is wrong with one row's options; its row is quarantined."""


@dataclass(frozen=True, eq=False)
class _Options(Config):
    """What reads a question and its options."""

    question: str = "question"
    options: str | None = "options"

    def check_role(self, where: str, role: str, kind: pa.DataType) -> None:
        """Refuses options that are neither texts nor a number, and anything but text in the other roles.

        Raises:
            PlanError: naming the type.
        """
        text = types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)
        fits, what = (are_options(kind), OPTIONS) if role == self.options else (text, "text")
        if not fits:
            raise PlanError(f"{where} reads {role!r} as {what}, but it is {kind}: name another column")


@dataclass(frozen=True, eq=False)
class OpenEnded(_Options):
    """The question without its options: `Edit(question=OpenEnded(), answer=RightText())`.

    A question whose text lists no options stays as it is. Both editors read the pool's own question, so they stand in
    one `Edit`. A panel that is to ask open questions must not find the options either: name their role `choices`, say,
    and write `OpenEnded(options="choices")`.

    Args:
        question: the role of the question.
        options: the role of its options (a list of texts, or their number); only what the text lists of them is taken
            out. None where the pool has no such role: then any list with letters is taken for options.
    """

    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The question, and the options."""
        return (self.question, *([self.options] if self.options else []))

    def edit(self, batch: pa.RecordBatch) -> pa.Array:
        """The question of each row; null for null.

        Raises:
            BadOptions: for one option, more than 26, doubled or empty ones.
        """
        return _edited(batch, self.reads, _stem)


@dataclass(frozen=True, eq=False)
class RightText(_Options):
    """The text of the right option, where the answer is its letter or its text: `Edit(answer=RightText())`.

    The answer to an open question stays as it is.

    Args:
        question, options: as in `OpenEnded`.
        answer: the role of the right answer.
    """

    answer: str = "answer"
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The question, the options and the answer."""
        return (self.question, *([self.options] if self.options else []), self.answer)

    def edit(self, batch: pa.RecordBatch) -> pa.Array:
        """The answer of each row; null for null.

        Raises:
            BadOptions: for an answer that is not among the options, and as `OpenEnded`.
        """
        return _edited(batch, self.reads, lambda question, *rest: _right(question, rest[:-1], rest[-1]))


def _edited(batch: pa.RecordBatch, reads: tuple[str, ...], made: Callable[..., str | None]) -> pa.Array:
    columns = (batch.column(role).to_pylist() for role in reads)
    return pa.array([made(*values) for values in zip(*columns, strict=True)], pa.string())


def _stem(question: str | None, options: Any = None) -> str | None:
    if question is None:
        return None
    listed = listing(question, _given(options))
    if isinstance(listed, RowError):
        raise BadOptions(listed.message)
    return question if listed is None else listed.question


def _right(question: str | None, options: tuple[Any, ...], answer: str | None) -> str | None:
    if answer is None:
        return None
    made = choice_of(question, _given(*options), Gold(answer))
    if isinstance(made, RowError):
        raise BadOptions(made.message)
    return answer if made is None else made.answer


def _given(options: Any = None) -> list[str] | int | None:
    return ["" if value is None else str(value) for value in options] if isinstance(options, list) else options
