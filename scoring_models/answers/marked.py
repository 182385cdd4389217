"""Stored texts marked against the rows' own gold answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.answers.keys import Mask
from poolsieve.scoring_models.answers.table import AnswerTable, Lines
from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.base.outcomes import RIGHT_FROM
from poolsieve.scoring_models.marking import Gold, Scoring, lacking, mark

GOLD, GOLDS, OPTIONS, SOURCE = "gold", "golds", "options", "source"


@dataclass(frozen=True)
class Marker:
    """What marks the answers to a row's item.

    Attributes:
        scoring: the way of marking, by source.
        roles: `gold`, `golds`, `options` or `source` -> the role of the pool, of those that are read.
    """

    scoring: Scoring
    roles: Mapping[str, str]

    def marked(self, batch: pa.RecordBatch, table: AnswerTable, found: Lines) -> tuple[Mask, dict[int, RowError]]:
        """bool (m,): whether each answer is right; and what is wrong with rows whose answers can't be marked."""
        errors: dict[int, RowError] = {}
        right = np.zeros(len(found.rows), dtype=bool)
        rows, starts, counts = np.unique(found.rows, return_index=True, return_counts=True)
        said, gold = table.said(found.lines), self._values(batch, rows)
        for row, values, start, end in zip(rows, gold, starts, starts + counts, strict=True):
            made = self._right(values, said[start:end])
            if isinstance(made, RowError):
                errors[int(row)] = made
            else:
                right[start:end] = made
        return right, errors

    def _values(self, batch: pa.RecordBatch, rows: Any) -> list[dict[str, Any]]:
        """What some rows are marked by: a part of marking -> the value of its role."""
        parts = batch.select(list(dict.fromkeys(self.roles.values()))).take(pa.array(rows, pa.int64()))
        return [{name: values[role] for name, role in self.roles.items()} for values in parts.to_pylist()]

    def _right(self, values: Mapping[str, Any], said: Sequence[str]) -> list[bool] | RowError:
        """Which of the answers to one item are right; each text is marked once."""
        gold, how = gold_of(values), self.scoring.how(_text(values.get(SOURCE)))
        lacks = lacking(how, gold)
        if lacks is not None:
            return RowError("no_gold_answer", f"answers can't be marked by {how!r}: {lacks}")
        marks = {text: mark(how, text, gold) >= RIGHT_FROM for text in dict.fromkeys(said)}
        return [marks[text] for text in said]


def gold_of(values: Mapping[str, Any]) -> Gold:
    """What is right, from a row's values; options of which only the number is known are none."""
    options, golds = values.get(OPTIONS), values.get(GOLDS)
    return Gold(_text(values.get(GOLD)), _listed(golds), _listed(options))


def _listed(values: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in values if one is not None) if isinstance(values, list) else ()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def check_role(where: str, name: str, role: str, kind: pa.DataType) -> None:
    """Refuses a role of a type that its part in marking can't have.

    Raises:
        PlanError: naming the type.
    """
    if pa.types.is_null(kind):
        return
    texts = _is_list(kind) and (_is_text(kind.value_type) or pa.types.is_null(kind.value_type))  # type: ignore[attr-defined]
    single = _is_text(kind) or (name == GOLD and (pa.types.is_integer(kind) or pa.types.is_floating(kind)))
    good = {GOLDS: texts, OPTIONS: texts or pa.types.is_integer(kind)}.get(name, single)
    if not good:
        wanted = {GOLDS: "a list of texts", OPTIONS: "a list of texts, or their number", SOURCE: "a text"}
        or_none = f"; {name}=None does without" if name in (GOLDS, OPTIONS) else ""
        asked = f"{wanted.get(name, 'a text')} is wanted{or_none}"
        raise PlanError(f"{where} reads {role!r} as {name}, but it is {kind}: {asked}")


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
