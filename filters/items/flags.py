"""Items that no model gets right, and what a judge says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.filters.dsl.env import SCORE, Env
from poolsieve.filters.dsl.expr import Predicate
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import Alive, Scores, Sums

VERDICTS = ("ground_truth_wrong", "question_is_ambiguous", "needs_high_resolution")
"""What a judge says of an item, in the order in which a row's reason is taken (DatBench section 3.3 has the three)."""


@dataclass(frozen=True, eq=False)
class Flagged(Config):
    """True where models were asked with the image and none was right: `<panel>.flagged`."""

    panel: str
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The counts with the image."""
        return (f"{self.panel}.right", f"{self.panel}.asked")

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """One flag."""
        return {"": pa.bool_()}

    def values(self, scores: Scores, table: None) -> Mapping[str, pa.Array]:
        """The flags, bool (n,)."""
        right, asked = (scores[name] for name in self.reads)
        return {"": pc.and_(pc.equal(right, pa.scalar(0)), pc.greater(asked, pa.scalar(0)))}


@dataclass(frozen=True, eq=False)
class Unjudged(Config):
    """True where an item is flagged and no verdict on it is known, false where one is; null where none is needed."""

    flagged: str
    verdict: str
    version: int = 1
    in_manifest: ClassVar[bool] = True

    @property
    def reads(self) -> tuple[str, ...]:
        """The flag, and what the judge said."""
        return (self.flagged, *(f"{self.verdict}.{name}" for name in VERDICTS))

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """One flag."""
        return {"": pa.bool_()}

    def values(self, scores: Scores, table: None) -> Mapping[str, pa.Array]:
        """bool (n,)."""
        flagged, *said = [scores[name] for name in self.reads]
        silent: Any = said[0].is_null()
        for one in said[1:]:
            silent = pc.and_(silent, one.is_null())
        return {"": pc.if_else(flagged.fill_null(False), silent, pa.scalar(None, pa.bool_()))}

    def report(self, scores: Scores, kept: Alive) -> Sums:
        """Flagged items, those of them that no judge spoke of, and those that stay."""
        flagged, unjudged = (np.asarray(scores[name].fill_null(False)) for name in (self.flagged, ""))
        counts = {"flagged": flagged, "without a verdict": unjudged, "flagged and kept": flagged & kept}
        return {"": {name: int(values.sum()) for name, values in counts.items()}}


@dataclass(frozen=True, eq=False)
class NotTrue(Predicate):
    """True where a boolean score is false or unknown: what nobody said costs no row."""

    score: str = field(metadata=SCORE)

    def names(self) -> tuple[str, ...]:
        """The score."""
        return (self.score,)

    def truth(self, env: Env) -> pa.Array:
        """Never null."""
        return pc.invert(env.scores[self.score].fill_null(False))
