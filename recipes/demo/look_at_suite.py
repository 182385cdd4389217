"""Says what became of the planted items of `make demo-suite`, and what to look at.

python recipes/demo/look_at_suite.py demo/suite demo/out-suite demo/suite-kept
"""

from __future__ import annotations

import collections
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from make_suite import VALID

import poolsieve

REASONS = (
    "suite.blind_solvable",
    "suite.wrong_label",
    "suite.ambiguous",
    "suite.needs_resolution",
    "suite.not_discriminative",
    "",
)
HEADS = ("blind", "wrong", "ambiguous", "too small", "not chosen", "kept")


def counted(suite: Path, ledger: pa.Table) -> dict[str, collections.Counter[str]]:
    """Planted kind -> reason -> items; "" for kept ones."""
    plant = pq.read_table(suite / "plant.parquet", columns=["uid", "kind"]).to_pydict()
    kinds = dict(zip(plant["uid"], plant["kind"], strict=True))
    made: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in sorted(set(plant["kind"]))}
    found = ledger.select(["uid", "reason"]).to_pydict()
    for uid, reason in zip(found["uid"], found["reason"], strict=True):
        made[kinds[uid]][reason or ""] += 1
    return made


def table(counts: dict[str, collections.Counter[str]]) -> list[str]:
    """Lines: what was planted, and how many items of it went for which reason."""
    lines = [f"{'planted':17s}" + "".join(f"{head:>12s}" for head in HEADS)]
    order = sorted(counts, key=lambda kind: (kind not in VALID, kind))
    return lines + [f"{kind:17s}" + "".join(f"{counts[kind][reason]:12d}" for reason in REASONS) for kind in order]


def main() -> None:
    """Prints the table and the places."""
    suite, out, kept = (Path(one) for one in sys.argv[1:4])
    run = poolsieve.open(out)
    print("\n".join(table(counted(suite, run.ledger()))))
    print(f"""
What to look at:
- {run.report}
  "Suite" says how many items no model got right, and how well the kept ones tell models apart; the samples show items
  on both sides of each cut, and some of each reason.
- above, what tau = 6 would do: of 24 models that only guess among four options, 6 or more are right on most items.
- {kept}: the items that are left, with their scores. Those with a wrong answer:
  poolsieve export {out} --to DIR --reason suite.wrong_label
- docs/suites.md for a suite of yours, docs/suite-effect.md for how much of such a plant is found.""")


if __name__ == "__main__":
    main()
