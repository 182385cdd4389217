"""`lines.*`: lines, paragraphs or sentences that stand in a pool again and again, left out of its texts.

After CCNet (Wenzek et al., arXiv 1911.00359, section 3.1: paragraphs by hashes), C4 (arXiv 1910.10683, section 2.2)
and RefinedWeb (arXiv 2306.01116, appendix G.3). They keep the first copy in a shard, or in the order in which a pool
happens to be read; here every copy goes of a line that the pool has more than `most` times, so that what is left of a
text depends on the pool and not on an order. What was counted is an artefact: hashes and counts, made by a job before
the first pass (`dataflow/passes/artefacts/repeats.py`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import xxhash

from poolsieve.filters.dsl.edits import Edit
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Score
from poolsieve.filters.parted import COUNTS, Counted, read_parted
from poolsieve.filters.words.mixing import Hashes
from poolsieve.filters.words.sentences import sentence_spans
from poolsieve.scoring_models.base.config import Config, JsonObject
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.base.scorer import Scored, TextScorer

Ints = np.ndarray[Any, np.dtype[np.int64]]

MOST, MIN_CHARS = 10, 30
"""Defaults. A line that ten pages have may be a quotation; shorter ones ("Yes.", "Share") are part of texts as well."""

LINE, PARAGRAPH, SENTENCES = "line", "paragraph", "sentences"
UNITS = (LINE, PARAGRAPH, SENTENCES)

SPAN = 3
"""Sentences that are counted together, in every place where so many follow one another (C4)."""

_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_PLACES = pa.list_(pa.int32())


@dataclass(frozen=True, eq=False, kw_only=True)
class Pieces(Config):
    """How a text is cut, and which of its pieces are counted: those of `min_chars` characters or more.

    Pieces are equal that differ in capitals, in blanks between words and at their ends (so in `\\r` too).
    """

    unit: str = LINE
    min_chars: int = MIN_CHARS

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise PlanError(f"lines: unit={short(self.unit)} does not exist: there is {', '.join(UNITS)}")
        if type(self.min_chars) is not int or self.min_chars < 1:
            raise PlanError(f"lines: min_chars={short(self.min_chars)} must be a whole number, 1 or more")

    @property
    def together(self) -> int:
        """Pieces that are counted, and go, as one."""
        return SPAN if self.unit == SENTENCES else 1

    def cut(self, text: str) -> list[str]:
        """The pieces of a text, without what stands between them."""
        if self.unit == SENTENCES:
            return [text[first:end] for first, end in sentence_spans(text)]
        return text.split("\n") if self.unit == LINE else _BLANK_LINES.split(text)

    def without(self, text: str, gone: Set[int]) -> str:
        """The text without the pieces at some places."""
        if self.unit == SENTENCES:
            return _without(text, gone)
        between = "\n" if self.unit == LINE else "\n\n"
        return between.join(piece for i, piece in enumerate(self.cut(text)) if i not in gone)

    def hashes(self, text: str) -> tuple[Ints, Hashes]:
        """(places, hashes) of what is counted: int64, the first piece of each, and uint64 (n,)."""
        return self.hashes_of(self.cut(text))

    def hashes_of(self, pieces: Sequence[str]) -> tuple[Ints, Hashes]:
        """The same of pieces that are cut."""
        n = self.together
        whole = pieces if n == 1 else [" ".join(pieces[i : i + n]) for i in range(len(pieces) - n + 1)]
        found = [(i, self._hash(piece)) for i, piece in enumerate(whole) if len(piece) >= self.min_chars]
        some = [(i, made) for i, made in found if made is not None]
        return np.array([i for i, _ in some], dtype=np.int64), np.array([made for _, made in some], dtype=np.uint64)

    def _hash(self, piece: str) -> int | None:
        same = " ".join(piece.lower().split())
        return xxhash.xxh3_64_intdigest(same.encode("utf-8", "surrogatepass")) if len(same) >= self.min_chars else None


def _without(text: str, gone: Set[int]) -> str:
    """A text without some of its sentences. Of what stood between two that stay, the most line ends are left."""
    stay, between, end = list[str](), "", 0
    for i, (first, stop) in enumerate(sentence_spans(text)):
        between, end = max(text[end:first], between, key=lambda blanks: blanks.count("\n")), stop
        if i not in gone:
            stay += [between if stay else "", text[first:stop]]
            between = ""
    return "".join(stay)


@dataclass(frozen=True, eq=False, kw_only=True)
class Repeated(TextScorer):
    """Pieces of a text that the counted pool has more than `most` times.

    Args:
        pool: that is counted, its role `text`: usually the one that is scored.
        most: times that a piece may stand in it, in one text or in several.
        pieces: what is counted.
    """

    pool: Any
    most: int = MOST
    pieces: Pieces = field(default_factory=Pieces)
    artefact: str = field(default="", metadata={"runtime": True})
    """URL of what was counted; filled in before the first pass."""

    packages: ClassVar[tuple[str, ...]] = ("xxhash",)
    pools_are: ClassVar[str] = "pool"

    def __post_init__(self) -> None:
        if not hasattr(self.pool, "located"):
            raise PlanError(f"lines.repeated({short(self.pool)}): give a pool, as Pool.jsonl('a.jsonl', text='text')")
        if type(self.most) is not int or self.most < 1:
            raise PlanError(f"lines.repeated(most={short(self.most)}): must be a whole number, 1 or more")

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`at` (list<int32>): places of those pieces; `dropped` (int32): how many; `share` (float32): of the bytes."""
        return {"at": _PLACES, "dropped": pa.int32(), "share": pa.float32()}

    @property
    def pools(self) -> Mapping[str, Any]:
        """The pool that the artefact is counted from; role `text` is read."""
        return {"counted": self.pool}

    def to_dict(self) -> JsonObject:
        """Without the pool: what is in it is in the artefact's name."""
        made = super().to_dict()
        return {name: value for name, value in made.items() if name != "pool"}

    def counted_by(self) -> JsonObject:
        """What the artefact depends on beside the pool: it has all counts of two or more, whatever `most` is."""
        return self.pieces.to_dict()

    def hashes(self, batch: pa.RecordBatch) -> Iterator[Hashes]:
        """uint64 (n,) of the pieces of each text of the column `text`."""
        for text in batch.column("text").to_pylist():
            if text is not None:
                yield self.pieces.hashes(text)[1]

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The three columns; null for null."""
        texts = batch.column(self.text).to_pylist()
        cuts = [None if text is None else self._cut(text) for text in texts]
        whole = np.concatenate([np.empty(0, np.uint64), *(cut[2] for cut in cuts if cut is not None)])
        often = _counted(self.artefact, self.most).of(whole)
        made = [cut and self._found(str(text), *cut, often) for text, cut in zip(texts, cuts, strict=True)]
        columns = zip(*((None,) * 3 if one is None else one for one in made), strict=True) if made else ((),) * 3
        return Scored(
            {
                name: pa.array(list(values), kind)
                for (name, kind), values in zip(self.columns.items(), columns, strict=True)
            }
        )

    def found(self, text: str, often: Hashes) -> tuple[Sequence[int], int, float]:
        """Places of the pieces of a text that are in `often`, how many, and their share of its bytes."""
        return self._found(text, *self._cut(text), often)

    def _cut(self, text: str) -> tuple[list[str], Ints, Hashes]:
        pieces = self.pieces.cut(text)
        return pieces, *self.pieces.hashes_of(pieces)

    def _found(
        self, text: str, pieces: Sequence[str], places: Ints, hashes: Hashes, often: Hashes
    ) -> tuple[Sequence[int], int, float]:
        if not len(often) or not len(hashes):
            return [], 0, 0.0
        near = np.minimum(np.searchsorted(often, hashes), len(often) - 1)
        spans = places[often[near] == hashes][:, None] + np.arange(self.pieces.together)
        at = np.unique(spans).tolist()
        gone = sum(_bytes(pieces[i]) for i in at)
        return at, len(at), gone / _bytes(text)


class RepeatedSpans(Repeated):
    """The same of sentences, which spaCy's rules part."""

    packages: ClassVar[tuple[str, ...]] = ("xxhash", "spacy")
    extra: ClassVar[str] = "text"


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


@functools.lru_cache(maxsize=4)
def _counted(artefact: str, most: int) -> Counted:
    return Counted(read_parted(artefact, COUNTS), most)


@dataclass(frozen=True, eq=False, kw_only=True)
class Without(Config):
    """A text without the pieces whose places are a score (`Repeated`); one that has none of them stays as it is."""

    places: str
    text: str = "text"
    pieces: Pieces = field(default_factory=Pieces)
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The text, and the places."""
        return (self.text, self.places)

    def check_role(self, where: str, role: str, kind: pa.DataType) -> None:
        """Refuses places that are none, and texts that are none.

        Raises:
            PlanError: saying what they are.
        """
        if role == self.places and kind != _PLACES:
            raise PlanError(f"{where}: {role!r} is {kind}, and the places that lines.repeated finds are needed")
        if role == self.text and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise PlanError(f"{where} reads {role!r} as text, but it is {kind}: name a column of text")

    def edit(self, batch: pa.RecordBatch) -> pa.Array:
        """The edited text of each row; null for null."""
        pairs = zip(batch.column(self.text).to_pylist(), batch.column(self.places).to_pylist(), strict=True)
        return pa.array([None if text is None else self.edited(text, at or ()) for text, at in pairs], pa.string())

    def edited(self, text: str, at: Sequence[int]) -> str:
        """One text."""
        return self.pieces.without(text, frozenset(at)) if at else text


@stage(example='lines.repeated(Pool.jsonl("web.jsonl", text="text"))', one_pool=("pool",))
def repeated(
    pool: Any,
    *,
    most: int = MOST,
    min_chars: int = MIN_CHARS,
    unit: str = LINE,
    text: str = "text",
    name: str = "lines",
) -> Chain:
    """Takes lines that the pool has more than `most` times out of texts: later stages read what is left.

    All copies go, in whatever order a pool is read. No row is dropped: `{name}.share` says which part of a text's bytes
    went, `{name}.dropped` how many lines. Copies of whole documents count too: count a pool without them.

    Args:
        pool: that is counted, with a role `text`; usually the recipe's own.
        most: times that a line may stand in the pool.
        min_chars: characters of the shortest line that is counted.
        unit: "line"; "paragraph" for what stands between blank lines; "sentences" for each three sentences that follow
            one another (a line's end ends one), all of which go: needs the extra `text`.
        text: the role to read and to edit.
        name: of the scores.
    """
    pieces = Pieces(unit=unit, min_chars=min_chars)
    kind = RepeatedSpans if unit == SENTENCES else Repeated
    found = kind(pool=pool, most=most, pieces=pieces, text=text)
    edit = Without(places=f"{name}.at", text=text, pieces=pieces)
    return Chain((Score(**{name: found}), Edit(**{text: edit})))
