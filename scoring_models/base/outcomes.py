"""What the models of a panel made of one item: which answered, with the image or without it, and who was right."""

from __future__ import annotations

import pyarrow as pa

OUTCOMES = pa.list_(pa.struct([("model", pa.string()), ("image", pa.bool_()), ("right", pa.bool_())]))
"""One row's answers, sorted by (model, image), without the image first; one entry for each that was given.

Nested, so that it stands in `scores/` and in no ledger.
"""

BLIND, SIGHTED = ("blind_right", "blind_asked"), ("right", "asked")
"""Columns, int32, of the two settings: answers that were right, and answers."""

RIGHT_FROM = 0.5
"""A mark from which an answer counts as right (DatBench's `is_correct`)."""
