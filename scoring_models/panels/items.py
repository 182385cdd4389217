"""Items of a benchmark: what is read of a row, what is wrong with it, and the step that says so before anyone is asked.

So an item that nobody could answer is quarantined once, and costs no question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import types

from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.base.images_io import decode_image
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig
from poolsieve.scoring_models.marking import Gold, Scoring, lacking
from poolsieve.scoring_models.marking.gold import accepted
from poolsieve.scoring_models.marking.options import Listed, are_options, lettered, listing, turned
from poolsieve.scoring_models.panels.members import Member, sees
from poolsieve.scoring_models.panels.prompts import CHOICE, OPEN, OWN_CHOICE, OWN_OPEN, filled

LONGEST = 100_000
"""Characters of an item's texts, all together. No model of today's panels reads so many, and an answer is compared with
each right one."""

THINNEST = 200
"""An image's long side over its short one, above which no model is asked: most bring the short side to a size of their
own, so that such an image would fill the memory (Qwen2-VL's processor refuses the same)."""

OPTIONAL = ("answers", "options", "source", "prefix", "suffix")
"""Roles that an item need not have."""


class Item(NamedTuple):
    """What is read of a row. Without options (a list of texts) the question is open."""

    question: str
    gold: Gold
    source: str | None = None
    prefix: str = ""
    suffix: str = ""
    image: bytes | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ItemScorer(ScorerConfig):
    """What the steps of a panel have in common: the roles of an item, of which some may be missing from the pool.

    Args:
        image, question, answer, answers, options, source, prefix, suffix: roles, by the names that they have here.
        version: see `Scorer`.
    """

    image: str | None = "image"
    question: str = "question"
    answer: str = "answer"
    answers: str = "answers"
    options: str = "options"
    source: str = "source"
    prefix: str = "prefix"
    suffix: str = "suffix"
    version: int = 1

    @property
    def asked(self) -> tuple[str, ...]:
        """What an asking reads, by the names that it has here, beside the image."""
        return ("question", "options", "prefix", "suffix")

    @property
    def optional_reads(self) -> tuple[str, ...]:
        """Roles that are read where the pool has them: those that were not given another name."""
        return tuple(name for name in OPTIONAL if getattr(self, name) == name)

    def check_role(self, where: str, role: str, kind: pa.DataType) -> None:
        """Refuses a role of a type that is known to be none of an item's.

        Raises:
            PlanError: naming the type.
        """
        wanted = {self.options: (are_options, "options (lists of texts, or their number)")}
        wanted |= {self.answers: (_is_texts, "right answers (lists of texts)")}
        fits, what = wanted.get(role, (_is_value, "text" if role != self.image else "images (bytes)"))
        if not types.is_null(kind) and not fits(kind):
            raise PlanError(f"{where} reads {role!r} as {what}, but it is {kind}: name another column")

    def item(self, batch: pa.RecordBatch, row: int) -> Item:
        """The item in a row, from the columns that are there."""
        of: Callable[[str], Any] = lambda name: value_of(batch, getattr(self, name), row)  # noqa: E731
        listed = of("options")
        gold = Gold(of("answer"), _texts(of("answers")), _texts(listed if isinstance(listed, list) else None))
        image = None if self.image is None else value_of(batch, self.image, row)
        return _unlisted(Item(of("question") or "", gold, of("source"), of("prefix") or "", of("suffix") or "", image))


def _unlisted(item: Item) -> Item:
    """The item without letters before its options, and without these in its question: they are shown once."""
    if not item.gold.options or length_of(item) > LONGEST:
        return item
    found = listing(item.question, item.gold.options)
    if not isinstance(found, Listed):
        return item
    plain = dict(zip(item.gold.options, found.options, strict=True))  # an answer may bear its letter too
    right = item.gold.answer and plain.get(item.gold.answer, item.gold.answer)
    answers = tuple(plain.get(answer, answer) for answer in item.gold.answers)
    return item._replace(question=found.question, gold=Gold(right, answers, found.options))


def value_of(batch: pa.RecordBatch, role: str, row: int) -> Any:
    """The value of a role in a row; None where the batch has no such column."""
    place = batch.schema.get_field_index(role)
    return None if place < 0 else batch.column(place)[row].as_py()


def _texts(values: Sequence[Any] | None) -> tuple[str, ...]:
    return tuple("" if value is None else value for value in values or ())


def _is_value(kind: pa.DataType) -> bool:
    return not types.is_nested(kind) and not types.is_primitive(kind)


def _is_texts(kind: pa.DataType) -> bool:
    return types.is_nested(kind) and are_options(kind)


def wording(item: Item, prompt: str | None, choice: str | None, turn: int = 0) -> str:
    """What a model is asked about an item.

    Args:
        item: the item.
        prompt, choice: templates for open questions and for those with options; None for ours.
        turn: by how many places its options are turned.
    """
    options = turned(item.gold.options, turn)
    own = bool(item.prefix or item.suffix)
    template = (choice or (OWN_CHOICE if own else CHOICE)) if options else prompt or (OWN_OPEN if own else OPEN)
    texts = {"prefix": item.prefix, "question": item.question, "suffix": item.suffix}
    return filled(template, {**texts, "options": lettered(options)})


def turns_of(item: Item, circular: bool) -> range:
    """By how many places an item's options are turned, one asking each."""
    return range(len(item.gold.options) if circular and item.gold.options else 1)


def way_of(item: Item, scoring: Scoring) -> str:
    """How an answer to the item is marked: by letter where it has options, unless a judge marks its source."""
    how = scoring.how(item.source)
    return "letter" if item.gold.options and how != "judge" else how


def length_of(item: Item) -> int:
    """Characters of an item's texts."""
    texts = [item.question, item.prefix, item.suffix, item.gold.answer or "", *item.gold.answers, *item.gold.options]
    return sum(map(len, texts))


def fault(item: Item, scoring: Scoring) -> RowError | None:
    """What is wrong with an item's texts; None if it can be asked and marked."""
    if length_of(item) > LONGEST:
        return RowError("too_long", f"the item's texts have {length_of(item):,} characters: at most {LONGEST:,}")
    if not item.question.strip():
        return RowError("no_question", "the question is empty")
    found = listing(item.question, item.gold.options) if item.gold.options else None
    return found if isinstance(found, RowError) else _gold_fault(item, scoring)


def _gold_fault(item: Item, scoring: Scoring) -> RowError | None:
    for how in dict.fromkeys(["letter"] * bool(item.gold.options) + [way_of(item, scoring)]):
        missing = lacking(how, item.gold)
        if missing is not None:
            kind = "answer_not_an_option" if item.gold.options else "not_markable"
            return RowError(kind if accepted(item.gold) else "no_answer", missing)
    return None


def image_fault(data: bytes | None) -> RowError | None:
    """Why an item's image can't be shown to anyone; None if it can."""
    if not data:
        return RowError("no_image", "the item has no image, and the panel is asked with it: say sighted=False")
    image = decode_image(data)
    if isinstance(image, RowError):
        return image
    short, long = sorted(image.size)
    if long > THINNEST * max(short, 1):
        return RowError("image_thin", f"{image.width} x {image.height} pixels: too long and thin to be shown")
    return None


@dataclass(frozen=True, eq=False, kw_only=True)
class Items(ItemScorer):
    """Whether each row is an item that can be asked and marked; one that can't has that as its error.

    Args:
        scoring: how answers are marked.
        sighted: whether the image is shown to somebody.
        circular: whether it is asked once for each turn of its options.
        members: who is asked; what can't work is refused when a plan is made.
    """

    scoring: Scoring
    sighted: bool = True
    circular: bool = False
    members: tuple[Member, ...] = field(default=(), metadata={"runtime": True})

    @property
    def reads(self) -> tuple[str, ...]:
        """Every role of an item."""
        own = ("question", "answer", "answers", "options", "source", "prefix", "suffix")
        image = (self.image,) if self.sighted and self.image else ()
        return (*image, *(getattr(self, name) for name in own))

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """How many options the item has, and how often it is asked; in a struct, so that it stands in no ledger."""
        return {"": pa.struct([("options", pa.int32()), ("turns", pa.int32())])}

    @property
    def resources(self) -> Resources:
        """Decoding lets the interpreter lock go; what else there is takes no time."""
        return Resources()

    def files(self) -> Mapping[str, Path]:
        """None of its own.

        Raises:
            PlanError: if the image is to be shown, and no member sees any.
        """
        if self.sighted and self.image and not any(map(sees, self.members)):
            names = ", ".join(member.name for member in self.members)[:300]
            raise PlanError(f"Panel([...]): none of its models sees images ({names}): say sighted=False, or image=None")
        return {}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Looks at each item."""
        errors, found = {}, list[dict[str, int] | None]()
        for row in range(batch.num_rows):
            item = self.item(batch, row)
            wrong = fault(item, self.scoring) or (image_fault(item.image) if self.sighted and self.image else None)
            if wrong is not None:
                errors[row] = wrong
            count = len(item.gold.options)
            found.append(None if wrong else {"options": count, "turns": len(turns_of(item, self.circular))})
        return Scored({"": pa.array(found, self.columns[""])}, errors)
