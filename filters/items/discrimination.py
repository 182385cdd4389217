"""How well an item tells models apart: the correlation of who is right on it with how good the models are.

DatBench (arXiv 2601.02316), section 3.4: the point-biserial correlation r = (M1 - M0) / s * sqrt(n1 * n0 / n^2), where
M1 and M0 are the mean scores of the models that are right and wrong on the item, and s the population standard
deviation of the scores of all n; so it equals Pearson's r. A model's score is its share of right answers on the items
of the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.filters.dsl.groups import Groups
from poolsieve.scoring_models.base.config import Config
from poolsieve.scoring_models.base.derived import Alive, Scores, Sums
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.outcomes import OUTCOMES

RIGHT, ASKED = "right ", "asked "
"""Before a model's name in the table."""

UNIT = 1 << 40
"""Sums of r are multiples of 1/UNIT, so that they add up in any order."""

BINS = 200
"""Of r from -1 to 1, in the report's curve."""

Array = np.ndarray[Any, Any]


class Answered(NamedTuple):
    """Answers with the image: the row of each, its model as a number, and whether it was right."""

    row: Array
    model: Array
    right: Array
    models: tuple[str, ...]


def answered(answers: Any) -> Answered:
    """The answers with the image among `OUTCOMES` (n,), models sorted by name."""
    flat, row = answers.flatten(), np.asarray(pc.list_parent_indices(answers))
    seen = np.asarray(pc.struct_field(flat, "image").fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)
    names = pc.struct_field(flat, "model").filter(pa.array(seen))
    models = tuple(sorted(pc.unique(names).to_pylist()))
    codes = pc.index_in(names, value_set=pa.array(models, pa.string()))
    right = pc.struct_field(flat, "right").fill_null(False).to_numpy(zero_copy_only=False)
    return Answered(row[seen], np.asarray(codes, dtype=np.int64), np.asarray(right, dtype=bool)[seen], models)


@dataclass(frozen=True, eq=False)
class Discrimination(Config):
    """`<panel>.discrimination` (float64) and `<panel>.frontier` (int8), from the answers with the image.

    `discrimination` is null where all who answered are right, or all wrong, or all equally good. `frontier` is 1 where
    models answered and none was right, and null elsewhere.

    Args:
        panel: name of the score with the answers.
        by: score or column with the groups in which models are compared; None for one group.
    """

    panel: str
    by: str | None = None
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The answers, the counts with the image, the groups."""
        names = (f"{self.panel}.answers", f"{self.panel}.right", f"{self.panel}.asked")
        return names if self.by is None else (*names, self.by)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """See the class."""
        return {"discrimination": pa.float64(), "frontier": pa.int8()}

    def check_types(self, where: str, types: Mapping[str, pa.DataType]) -> None:
        """Refuses answers of another layout.

        Raises:
            PlanError: naming the score.
        """
        kind = types[self.reads[0]]
        if kind != OUTCOMES:
            raise PlanError(f"{where} reads {self.reads[0]!r} as the answers of a panel, but it is {kind}")
        if self.by is not None and pa.types.is_nested(types[self.by]):
            raise PlanError(f"{where} groups by {self.by!r}, but it is {types[self.by]}: name a column with few values")

    def groups(self, scores: Scores) -> Groups:
        """The group of each row."""
        return Groups.of(None if self.by is None else scores[self.by], len(scores[self.reads[0]]))

    def tally(self, scores: Scores, alive: Alive) -> Sums:
        """Group -> `right <model>`, `asked <model>` -> answers over the rows alive."""
        found, groups = answered(scores[self.reads[0]]), self.groups(scores)
        among = alive[found.row] & (groups.codes[found.row] >= 0)
        cells = groups.codes[found.row] * len(found.models) + found.model
        shape = (len(groups.names), len(found.models))
        size = shape[0] * shape[1]
        asked = np.bincount(cells[among], minlength=size).reshape(shape)
        right = np.bincount(cells[among & found.right], minlength=size).reshape(shape)
        out: dict[str, dict[str, int]] = {}
        for group, model in zip(*np.nonzero(asked), strict=True):
            into, name = out.setdefault(groups.names[group], {}), found.models[model]
            into[RIGHT + name], into[ASKED + name] = int(right[group, model]), int(asked[group, model])
        return out

    def values(self, scores: Scores, table: Sums) -> Mapping[str, pa.Array]:
        """The two columns (n,)."""
        found, groups = answered(scores[self.reads[0]]), self.groups(scores)
        r = point_biserial(found, groups.codes, [_means(table.get(name, {})) for name in groups.names])
        right, asked = (scores[name] for name in self.reads[1:3])
        frontier = pc.and_(pc.equal(right, pa.scalar(0)), pc.greater(asked, pa.scalar(0)))
        ones = pc.if_else(frontier, pa.scalar(1, pa.int8()), pa.scalar(None, pa.int8()))
        return {"discrimination": pa.array(r, mask=np.isnan(r)), "frontier": ones}

    def report(self, scores: Scores, kept: Alive) -> Sums:
        """What the report shows of each group.

        `right`, `asked` of each model over the kept rows; `items <bin>` and `r <bin>` over the rows alive there, by r
        in `BINS` bins of equal width from -1 on, r in units of 1/UNIT; `kept items`, `kept r`.
        """
        r = np.asarray(scores["discrimination"].to_numpy(zero_copy_only=False), dtype=np.float64)
        out = {group: dict(sums) for group, sums in self.tally(scores, kept).items()}
        for group, rows in self.groups(scores).rows(~np.isnan(r)):
            out.setdefault(group, {}).update(_curve(r[rows], kept[rows]))
        return out


def _curve(r: Array, kept: Alive) -> dict[str, int]:
    bins = np.minimum(((r + 1) / 2 * BINS).astype(np.int64), BINS - 1)
    units = np.round(r * UNIT).astype(np.int64)
    some, places, items = np.unique(bins, return_inverse=True, return_counts=True)
    sums = np.zeros(len(some), dtype=np.int64)
    np.add.at(sums, places, units)
    made = {f"items {one}": int(n) for one, n in zip(some, items, strict=True)}
    made |= {f"r {one}": int(total) for one, total in zip(some, sums, strict=True)}
    return {**made, "kept items": int(kept.sum()), "kept r": int(units[kept].sum())}


def _means(sums: Mapping[str, int]) -> dict[str, float]:
    """Model -> its share of right answers."""
    models = [name.removeprefix(ASKED) for name in sums if name.startswith(ASKED)]
    return {model: sums.get(RIGHT + model, 0) / sums[ASKED + model] for model in models if sums[ASKED + model]}


def point_biserial(found: Answered, codes: Array, means: Sequence[Mapping[str, float]]) -> Array:
    """float64 (n,): r of each row, NaN where there is none.

    Args:
        found: answers of the n rows.
        codes: int64 (n,), the group of each row; -1 for none.
        means: of each group the scores of its models.

    Models are added one by one in the order of their names, so that a row's r depends on the row and the table alone.
    """
    known = [[one.get(model, np.nan) for one in means] + [np.nan] for model in found.models]
    score = np.array(known, dtype=np.float64).reshape(len(found.models), len(means) + 1)[:, codes]
    right, there = (np.zeros(score.shape, dtype=bool) for _ in range(2))
    right[found.model, found.row] = found.right
    there[found.model, found.row] = True
    there &= ~np.isnan(score)
    return _correlation(np.where(there, score, 0.0), right & there, there)


def _correlation(score: Array, right: Array, there: Array) -> Array:
    """r from (models, n): scores (0 where not there), who is right, who answered."""
    count, ones = there.sum(axis=0), right.sum(axis=0)
    zeros = count - ones
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = _sum(score) / count
        spread = np.sqrt(_sum(np.where(there, (score - mean) ** 2, 0.0)) / count)
        gap = _sum(np.where(right, score, 0.0)) / ones - _sum(np.where(there & ~right, score, 0.0)) / zeros
        r = gap / spread * np.sqrt(ones * zeros / count**2)
    highest, lowest = (edge(np.where(there, score, fill), axis=0, initial=fill) for edge, fill in _EDGES)
    known = (ones > 0) & (zeros > 0) & (highest > lowest)
    return np.where(known, np.clip(r, -1.0, 1.0), np.nan)


_EDGES = ((np.max, -np.inf), (np.min, np.inf))


def _sum(values: Array) -> Array:
    """Sums over models in their order; NumPy's own would add in pairs from some number of models on."""
    total = np.zeros(values.shape[1])
    for line in values:
        total += line
    return total
