"""The kinds of artefacts that a job makes, and which of them a scorer has."""

from __future__ import annotations

from typing import Any

from poolsieve.dataflow.passes.artefacts.kinds import Kind
from poolsieve.dataflow.passes.artefacts.lines import Lines
from poolsieve.dataflow.passes.artefacts.repeats import Repeats
from poolsieve.dataflow.passes.artefacts.sums import Sums

KINDS: tuple[type[Kind], ...] = (Repeats, Sums, Lines)


def has_kind(scorer: Any) -> bool:
    """Whether a job makes the artefact of a scorer; others are built in one place."""
    return any(hasattr(scorer, kind.asked) for kind in KINDS)


def kind_of(scorer: Any) -> type[Kind]:
    """The kind of a scorer's artefact."""
    return next(kind for kind in KINDS if hasattr(scorer, kind.asked))
