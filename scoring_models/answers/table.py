"""Stored answers in memory: sorted once, small, looked up by uid for whole batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.scoring_models.answers.keys import Ints, Keys, Mask, Unmatched, keys_of
from poolsieve.scoring_models.answers.values import Codes, Names, Tell, flags_of, marks_of, names_of, texts_of
from poolsieve.scoring_models.base.arrow import texts
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.outcomes import BLIND, RIGHT_FROM, SIGHTED, outcome_columns, outcomes_of


class Lines(NamedTuple):
    """Stored answers that belong to the rows of a batch: int64 (m,) each, sorted by row, then by model and setting."""

    rows: Ints
    lines: Ints

    def where(self, mask: Mask) -> Lines:
        """Some of them."""
        return Lines(self.rows[mask], self.lines[mask])


@dataclass(frozen=True, eq=False, kw_only=True)
class AnswerTable:
    """Answers of M models to n items, L in all, sorted by (item, model, without the image first).

    Attributes:
        keys: the items, answered or not.
        models: names of the models, sorted.
        starts: int64 (n + 1,): where the answers of each item begin.
        model: int32 (L,), positions in `models`.
        image: bool (L,): whether the image was shown.
        right: bool (L,); None where texts are to be marked.
        texts: large_string of all lines of the file; None unless they are to be marked. `origin`, int64 (L,), says
            which of them an answer has.
        question: int32 (L,), positions in `questions` (large_string, blanks collapsed), -1 for none; None where no
            line has one.
        first_lines: whether `questions` are the first lines of what was asked: a row's first line is compared then.
    """

    keys: Keys
    models: tuple[str, ...]
    starts: Ints
    model: Codes
    image: Mask
    right: Mask | None
    texts: pa.Array | None
    origin: Ints | None
    question: Codes | None = None
    questions: pa.Array | None = None
    first_lines: bool = False

    @property
    def settings(self) -> tuple[bool, ...]:
        """The settings that some model has: False for answers without the image, True for those with it."""
        return tuple(setting for setting in (False, True) if (self.image == setting).any())

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The columns of `outcomes`, with their types."""
        return outcome_columns(self.settings)

    def outcomes(self, uids: pa.Array, questions: pa.Array | None = None) -> dict[str, pa.Array]:
        """Counts and answers of rows, where it is stored who was right.

        Args:
            uids: string (m,).
            questions: string (m,), the rows' own; answers to another question do not count.
        """
        assert self.right is not None
        found = self.agreeing(self.find(uids), questions)
        return self.counted(found, self.right[found.lines], len(uids))

    def find(self, uids: pa.Array) -> Lines:
        """The answers to the items that have these uids."""
        codes = self.keys.find(uids)
        first = np.where(codes < 0, 0, self.starts[codes])
        counts = np.where(codes < 0, 0, self.starts[codes + 1] - first)
        rows = np.repeat(np.arange(len(uids)), counts)
        begins = np.cumsum(counts) - counts  # where a row's answers begin among those that were found
        return Lines(rows, np.arange(len(rows)) + np.repeat(first - begins, counts))

    def agreeing(self, found: Lines, questions: pa.Array | None) -> Lines:
        """Those whose question is the row's, but for blanks; those that are stored without one, too."""
        if questions is None or self.question is None or self.questions is None:
            return found
        codes = self.question[found.lines]
        asked = collapsed(first_lines(questions) if self.first_lines else questions).take(
            pa.array(found.rows, pa.int64())
        )
        stored = self.questions.take(pa.array(codes, pa.int32(), mask=codes < 0))
        same = np.asarray(pc.equal(stored, asked).fill_null(False), dtype=bool)
        return found.where(same | (codes < 0))

    def said(self, lines: Ints) -> list[str]:
        """The texts of some answers."""
        assert self.texts is not None and self.origin is not None
        found: list[Any] = self.texts.take(pa.array(self.origin[lines], pa.int64())).to_pylist()
        return found

    def counted(self, found: Lines, right: Mask, count: int) -> dict[str, pa.Array]:
        """The columns of `count` rows, of answers that were right or wrong."""
        image, made = self.image[found.lines], dict[str, pa.Array]()
        for setting in self.settings:
            of_setting = image == setting
            for name, mask in zip(SIGHTED if setting else BLIND, (of_setting & right, of_setting), strict=True):
                made[name] = pa.array(np.bincount(found.rows[mask], minlength=count).astype(np.int32))
        starts = np.searchsorted(found.rows, np.arange(count + 1))
        return {**made, "answers": outcomes_of(starts, self.models, self.model[found.lines], image, right)}

    def unmatched(self) -> Unmatched:
        """A fresh count of what these items and a pool have not in common."""
        return Unmatched(self.keys, np.diff(self.starts) == 0)


_BLANKS = r"[\s\v\x1c-\x1f\x{85}\p{Z}]+"
"""What `str.split` splits at, as RE2 spells it."""


def collapsed(values: Any) -> Any:
    """Texts with each run of blanks as one space, and none at the ends: large_string, as array or chunks."""
    return pc.utf8_trim_whitespace(
        pc.replace_substring_regex(values.cast(pa.large_string()), pattern=_BLANKS, replacement=" ")
    )


def first_lines(values: Any) -> Any:
    """The first line of each text that is not blank: large_string, as array or chunks."""
    trimmed = pc.utf8_ltrim_whitespace(values.cast(pa.large_string()))
    return pc.replace_substring_regex(trimmed, pattern=r"(?s)\n.*", replacement="")


def index(
    table: pa.Table,
    where: str,
    place: Tell | None = None,
    *,
    by_text: bool | None = None,
    first_lines: bool = False,
) -> AnswerTable:
    """Stored answers, checked and sorted.

    Args:
        table: a line for each answer: `item` and `model` (string), `image` (bool), and at least one of `correct` (a
            mark from 0 to 1; null or NaN: no answer was given) and `answer` (string). `question` (string) where it is
            known. Types that say the same are taken too; `file` and `line` say where a line stands, if they are there.
        where: what the answers are from, for messages.
        place: row of the table -> where it stands, if the table does not say it.
        by_text: whether answers are to be marked by their texts; None: if there is no `correct`.
        first_lines: whether a `question` is the first line alone.

    Raises:
        PlanError: for a table without lines or without answers, a null item, model or setting, a model without an
            answer, and two answers of one model to one item in one setting; with the place.
    """
    tell = place or _places(table, where)
    if not table.num_rows:
        raise PlanError(f"{where} has no lines: one for each item, model and setting is wanted")
    by_text = "correct" not in table.column_names if by_text is None else by_text
    items, models = (names_of(table.column(name), name, tell) for name in ("item", "model"))
    image, _ = flags_of(table.column("image"), "image", tell, null=False)
    right, said, given = _answers_of(table, tell, by_text)
    lines = np.flatnonzero(given)
    _check_answers(models, lines, where)
    names, rank = _ranked(models)
    key = (items.codes[lines].astype(np.int64) * len(names) + rank[models.codes[lines]]) * 2 + image[lines]
    order = np.argsort(key, kind="stable")
    lines, key = lines[order], key[order]
    _check_once(key, lines, table, tell)
    codes, questions = _questions(table, lines, tell)
    return AnswerTable(
        keys=keys_of(items.distinct),
        models=names,
        starts=np.searchsorted(items.codes[lines], np.arange(len(items.distinct) + 1)),
        model=rank[models.codes[lines]],
        image=image[lines],
        right=None if right is None else right[lines],
        texts=said,
        origin=lines if by_text else None,
        question=codes,
        questions=questions,
        first_lines=first_lines,
    )


def _answers_of(table: pa.Table, tell: Tell, by_text: bool) -> tuple[Mask | None, pa.Array | None, Mask]:
    """Who was right or what was said, of each line, and whether there is an answer at all."""
    if by_text:
        said = texts_of(table.column("answer"), "answer", tell)
        return None, said, np.asarray(said.is_valid(), dtype=bool)
    marks = marks_of(table.column("correct"), "correct", tell)
    return marks >= RIGHT_FROM, None, ~np.isnan(marks)


def _places(table: pa.Table, where: str) -> Tell:
    """Where the rows of a table stand, as it says itself."""
    if "file" not in table.column_names or "line" not in table.column_names:
        return lambda row: f"{where}, row {row}"
    return lambda row: f"{table.column('file')[row].as_py()}, line {table.column('line')[row].as_py()}"


def _ranked(models: Names) -> tuple[tuple[str, ...], Codes]:
    """The names of models, sorted, and int32: the place of each among them."""
    names = texts(models.distinct)
    places = {name: place for place, name in enumerate(sorted(names))}
    return tuple(places), np.array([places[name] for name in names], dtype=np.int32)


def _check_answers(models: Names, lines: Ints, where: str) -> None:
    """Refuses a model that never answers: that is a failed run, and would count as a model that knows nothing."""
    if not len(lines):
        raise PlanError(f"{where} holds no answer: every line has none")
    given = np.bincount(models.codes[lines], minlength=len(models.distinct))
    silent = models.distinct.filter(pa.array(given == 0)).to_pylist()
    if silent:
        raise PlanError(f"{where}: model {silent[0]!r} has lines, but no answer in any of them: leave it out")


def _check_once(key: Ints, lines: Ints, table: pa.Table, tell: Tell) -> None:
    """Refuses two answers of one model to one item in one setting."""
    twice = np.flatnonzero(key[1:] == key[:-1])
    if not len(twice):
        return
    at = twice[np.argmin(lines[twice + 1])]
    first, second = int(lines[at]), int(lines[at + 1])
    item, model, image = (table.column(name)[second].as_py() for name in ("item", "model", "image"))
    setting = "with" if str(image).lower() in ("true", "1", "1.0") else "without"
    raise PlanError(
        f"{tell(second)}: model {model!r} answers item {item!r} {setting} the image, as it does in {tell(first)} "
        "already: keep one of the two"
    )


def _questions(table: pa.Table, lines: Ints, tell: Tell) -> tuple[Codes | None, pa.Array | None]:
    """The questions of these lines: int32 into the distinct ones, -1 for none."""
    if "question" not in table.column_names or table.column("question").null_count == table.num_rows:
        return None, None
    once = collapsed(texts_of(table.column("question"), "question", tell)).dictionary_encode()
    codes = np.asarray(once.indices.fill_null(-1), dtype=np.int32)
    return codes[lines], once.dictionary
