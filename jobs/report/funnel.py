"""Funnel and reasons: how many rows each step left, and why the others are not kept."""

from __future__ import annotations

from typing import Literal

import msgspec

from poolsieve.dataflow.recipes.walk import QUARANTINE
from poolsieve.dataflow.store.summary import Facts, FunnelLine, Summary
from poolsieve.jobs.report.throughput import READ

Kind = Literal["read", "score", "rule", "derived"]
"""What a step of the funnel is: reading the pool, a scorer, a rule."""


class FunnelStep(msgspec.Struct, kw_only=True, frozen=True, rename={"rows_in": "in", "out_share": "yield"}):
    """One step: rows in = out + dropped + quarantined.

    Attributes:
        out_share: out of in; None where no row came in.
        of_pool: out of all rows; None for an empty pool.
        bytes, tokens: left after the step; None where they were not counted.
    """

    step: str
    kind: Kind
    rows_in: int
    out: int
    dropped: int
    quarantined: int
    out_share: float | None
    of_pool: float | None
    bytes: int | None
    tokens: int | None


class ReasonLine(msgspec.Struct, kw_only=True, frozen=True):
    """One reason: its rows, and their share of the pool."""

    reason: str
    rows: int
    share: float
    quarantined: bool


def funnel_steps(facts: Facts, summary: Summary) -> list[FunnelStep]:
    """Reading, then each step of the recipe."""
    # Not strict: a decision over no shard at all has no line for its steps.
    steps = zip(summary.funnel, facts.steps, strict=False)
    return [_reading(summary), *(_step(line, step.kind, summary.rows) for line, step in steps)]


def _reading(summary: Summary) -> FunnelStep:
    """The pool itself: what could not be read never reached the first step."""
    out = summary.funnel[0].rows_in if summary.funnel else summary.rows
    lost = summary.rows - out
    line = FunnelLine(step=READ, rows_in=summary.rows, out=out, quarantined=lost, bytes=summary.nbytes)
    return _step(line, "read", summary.rows)


def _step(line: FunnelLine, kind: Kind, total: int) -> FunnelStep:
    return FunnelStep(
        step=line.step,
        kind=kind,
        rows_in=line.rows_in,
        out=line.out,
        dropped=line.rows_in - line.out - line.quarantined,
        quarantined=line.quarantined,
        out_share=line.out / line.rows_in if line.rows_in else None,
        of_pool=line.out / total if total else None,
        bytes=line.bytes,
        tokens=line.tokens,
    )


def reason_lines(summary: Summary) -> list[ReasonLine]:
    """Why rows are not kept, most first."""
    total = max(summary.rows, 1)
    ordered = sorted(summary.reasons.items(), key=lambda item: (-item[1], item[0]))
    return [
        ReasonLine(reason=reason, rows=rows, share=rows / total, quarantined=reason.startswith(QUARANTINE))
        for reason, rows in ordered
    ]
