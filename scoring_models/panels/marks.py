"""The marking steps of a panel: what was said, against what is right. Another way of marking asks nobody again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.scorer import Resources, Scored
from poolsieve.scoring_models.marking import Gold, Scoring, mark
from poolsieve.scoring_models.marking.letters import LETTERS, gold_letters, letter_named
from poolsieve.scoring_models.marking.options import credit, turned
from poolsieve.scoring_models.panels.items import Item, ItemScorer, value_of, way_of

MARK = pa.struct([("mark", pa.float32())])
"""A mark, 0 to 1; null where nobody was to be asked. In a struct, so that it stands in no ledger."""

NOT_MARKED = RowError("not_answered", "there is no answer, or no verdict of the judge; the step before this says why")

_THOUGHT = "</think>"
"""Ends what a model thinks before it answers, in the templates of Qwen, DeepSeek, GLM and their kin."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Marks(ItemScorer):
    """Marks the answers of one asking step.

    Args:
        of: the asking step.
        scoring: how.
        judged: the step with the judge's marks; None where no judge marks.
    """

    of: str = field(metadata={"runtime": True})
    scoring: Scoring
    judged: str | None = field(default=None, metadata={"runtime": True})

    spares: ClassVar[bool] = True

    @property
    def reads(self) -> tuple[str, ...]:
        """The answers, and what is right."""
        steps = (self.of,) if self.judged is None else (self.of, self.judged)
        return (*steps, *(getattr(self, name) for name in ("answer", "answers", "options", "source")))

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """See `MARK`."""
        return {"": MARK}

    @property
    def resources(self) -> Resources:
        """Python string work, which holds the interpreter lock; next to asking it is nothing."""
        return Resources()

    def check_role(self, where: str, role: str, kind: pa.DataType) -> None:
        """See `ItemScorer`; the answers are what they are."""
        if role not in (self.of, self.judged):
            super().check_role(where, role, kind)

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The marks of a batch. A row whose answer failed fails here too, so that both are tried again together."""
        return marks_made([self.marked(batch, row) for row in range(batch.num_rows)])

    def marked(self, batch: pa.RecordBatch, row: int) -> float | RowError | None:
        """The mark of one row."""
        said = value_of(batch, self.of, row)
        if said is None:
            return NOT_MARKED
        if not said:
            return None
        item = self.item(batch, row)
        if self.judged is not None and for_judge(item, said, self.scoring):
            found = value_of(batch, self.judged, row)
            return NOT_MARKED if found is None else float(found["mark"])
        how = "letter" if chosen(said) else way_of(item, self.scoring)
        return mark_of(item, [spoken(answer["text"]) for answer in said], how)


def marks_made(found: Sequence[float | RowError | None]) -> Scored:
    """Marks of some rows as a column."""
    errors = {row: one for row, one in enumerate(found) if isinstance(one, RowError)}
    values: list[Any] = [None if one is None or isinstance(one, RowError) else {"mark": one} for one in found]
    return Scored({"": pa.array(values, MARK)}, errors)


def chosen(said: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an option was chosen by its likelihood, so that what was said is a letter."""
    return all(answer["likelihoods"] is not None for answer in said)


def for_judge(item: Item, said: Sequence[Mapping[str, Any]], scoring: Scoring) -> bool:
    """Whether a judge marks what was said of an item."""
    return not chosen(said) and way_of(item, scoring) == "judge"


def spoken(text: str) -> str:
    """What a model said once it had thought.

    >>> spoken("<think>B? No.</think> A")
    ' A'
    """
    return text.rpartition(_THOUGHT)[2]


def mark_of(item: Item, said: Sequence[str], how: str) -> float:
    """The mark of an item's answers: of the one, or the lowest of those to all turns of its options."""
    if how != "letter" or not item.gold.options:
        return min(mark(how, text, item.gold) for text in said)
    return credit([_chosen(item.gold, text, turn) for turn, text in enumerate(said)], len(said))


def _chosen(gold: Gold, said: str, turn: int) -> float:
    """1 if what was said names a right option, once the options are turned by `turn` places."""
    letter = letter_named(said, turned(gold.options, turn))
    if letter is None:
        return 0.0
    return float(LETTERS[(LETTERS.index(letter) + turn) % len(gold.options)] in gold_letters(gold))
