"""What a suite's stages find of planted ills, and how few items keep the models' order: DatBench's way in miniature.

    python benchmarks/suite_effect.py              # four seeds; writes docs/suite-effect.json, .svg and .md
    python benchmarks/suite_effect.py --quick      # two seeds, fewer items; prints alone
    python benchmarks/suite_effect.py --page       # the page and the plot from docs/suite-effect.json; nothing is run

For each seed `recipes/demo/make_suite.py` plants a suite: answers that leak into the text, wrong labels, ambiguous
questions, unreadable pictures, valid items of graded difficulty and some that no model can do. 24 models and the judge
are simulated, three tiny models are real and asked through `Panel`. `recipes/suite.py` is run over it, and decided
again with other limits and sizes. What is dropped is compared with the plant, and the models' order on what is kept
with their order on the whole and with the true one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / "demo"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import make_suite
import numpy as np
import pyarrow as pa
import suite_items
import suite_page
import suite_panel
from suite_measures import Found, Planted, against_plant, mean_of, of_subset, order, random_subset

import poolsieve
from poolsieve.scoring_models.devices.choice import cores

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RECIPE = ROOT / "recipes" / "suite.py"

TAUS = ("chance", "6")
"""The default, and the number that the published table has for most of its multiple choice with 27 models."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the experiment is.

    Attributes:
        rows: items of a suite.
        asked: share of them that the tiny models are asked.
        counts: items of a subset, for each capability.
        draws: random subsets of each size.
        seeds: suites.
    """

    rows: int
    asked: float
    counts: tuple[int, ...]
    draws: int
    seeds: int


SIZES = {
    "full": Sizes(rows=3000, asked=0.08, counts=(5, 10, 20, 40, 80, 160, 320), draws=50, seeds=4),
    "quick": Sizes(rows=1200, asked=0.1, counts=(10, 40, 160), draws=20, seeds=2),
    "test": Sizes(rows=360, asked=0.05, counts=(10, 40), draws=5, seeds=1),
}


class Suite:
    """A planted suite, run once and decided again with any limits."""

    def __init__(self, folder: Path, sizes: Sizes, seed: int) -> None:
        make_suite.make(folder / "suite", sizes.rows, 3, seed, sizes.asked)
        names = {name: str(folder / "suite" / f"{name}.parquet") for name in ("answers", "verdicts")}
        self.given: dict[str, Any] = {"pool": str(folder / "suite" / "items" / "*.parquet"), **names}
        self.planted = Planted.read(folder / "suite")
        self.run: Any = None
        self.out = folder / "out"

    def ledger(self, **limits: Any) -> pa.Table:
        """The ledger of a decision, rows in the plant's order."""
        params = {**self.given, **{name: str(value) for name, value in limits.items()}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of limits inside guessing, which is what is measured
            if self.run is None:
                self.run = poolsieve.run(RECIPE, str(self.out), params=params, samples=False)
            else:
                self.run = self.run.decide(params=params, samples=False)
        table = self.run.ledger()
        order = np.argsort(np.array(table["uid"].to_pylist()))
        assert (np.array(table["uid"].to_pylist())[order] == self.planted.uids).all()
        return table.take(order)


def reasons_of(table: pa.Table) -> Any:
    """str (n,): why a row was dropped before items were chosen, "" for the others."""
    given = np.array(table["reason"].fill_null("").to_pylist())
    return np.where(given == "suite.not_discriminative", "", given)


def check_marks(planted: Planted, table: pa.Table, asked: int) -> None:
    """The tool's counts are those of a plain comparison, on items that the simulated models alone were asked."""
    counts, all_of = (np.array(table[f"panel.{name}"].to_pylist()) for name in ("right", "asked"))
    alone = all_of == planted.right.shape[1]
    if not alone[asked:].all() or not (counts[alone] == planted.right[alone].sum(axis=1)).all():
        raise SystemExit("the counts in the ledger are not those of a plain comparison of the answers")


def one_seed(folder: Path, sizes: Sizes, seed: int) -> Found:
    """Everything that is measured with one seed, for JSON."""
    say(f"seed {seed}: plants a suite, asks the tiny models")
    suite = Suite(folder, sizes, seed)
    planted = suite.planted
    found: Found = {"seed": seed, "planted": counted(planted.kinds), "tiny": planted.tiny, "taus": {}}
    tables = {}
    for tau in TAUS:  # the laxer first: a decision has verdicts on what a run asked for
        say(f"seed {seed}: tau {tau}")
        tables[tau] = table = suite.ledger(tau=tau, count=max(sizes.counts))
        counts = [np.array(table[f"panel.{name}"].to_pylist()) for name in ("right", "asked")]
        found["taus"][tau] = against_plant(planted, reasons_of(table), (counts[0] == 0) & (counts[1] > 0))
    table = tables["chance"]
    check_marks(planted, table, round(sizes.asked * sizes.rows))
    whole = reasons_of(table) == ""
    every = np.ones(len(whole), dtype=bool)
    found["order"] = {"raw": order(planted, every), "cleaned": order(planted, whole)}
    say(f"seed {seed}: subsets")
    return found | {
        "subsets": subsets(suite, sizes, whole, seed),
        "examples": examples(suite, table) if seed == 0 else [],
    }


def subsets(suite: Suite, sizes: Sizes, whole: Any, seed: int) -> Found:
    """Way -> items of each capability -> what such a subset keeps."""
    made: Found = {way: {} for way in ("discriminative", "random")}
    dice = np.random.default_rng([seed, 9])
    for count in sizes.counts:
        table = suite.ledger(count=count)
        r = np.array(table["panel.discrimination"].to_pylist(), dtype=float)
        made["discriminative"][str(count)] = of_subset(suite.planted, np.array(table["keep"].to_pylist()), whole, r)
        draws = [random_subset(suite.planted, whole, count, dice) for _ in range(sizes.draws)]
        made["random"][str(count)] = mean_of([of_subset(suite.planted, rows, whole, r) for rows in draws])
    return made


def counted(values: Any) -> dict[str, int]:
    """How often each stands there."""
    names, counts = np.unique(values, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def examples(suite: Suite, table: pa.Table) -> list[Found]:
    """The first open item of each planted kind, with its question, its counts and what became of it."""
    items = suite_items.planted(len(suite.planted.uids), 0)
    columns = table.select(["panel.blind_right", "panel.right", "panel.asked", "reason"]).to_pylist()
    made = {}
    for item, row in zip(items, columns, strict=True):
        if item.kind not in made and not item.options:
            made[item.kind] = {
                "kind": item.kind,
                "question": item.question,
                "answer": item.answer,
                "true": item.true,
                **row,
            }
    return [made[kind] for kind in suite_items.KINDS if kind in made]


def measured(sizes: Sizes, kind: str, folder: Path) -> Found:
    """All seeds, each in a process of its own."""
    start = time.perf_counter()
    os.environ["OMP_NUM_THREADS"] = "1"
    folders = [folder / f"seed-{seed}" for seed in range(sizes.seeds)]
    for one in folders:
        one.mkdir()
    with ProcessPoolExecutor(min(cores(), sizes.seeds), get_context("spawn"), max_tasks_per_child=1) as workers:
        seeds = list(workers.map(one_seed, folders, [sizes] * sizes.seeds, range(sizes.seeds)))
    return {
        "size": kind,
        "command": "python benchmarks/suite_effect.py" + ("" if kind == "full" else f" --{kind}"),
        "rows": sizes.rows,
        "asked": sizes.asked,
        "counts": list(sizes.counts),
        "draws": sizes.draws,
        "shares": suite_items.KINDS,
        "sources": suite_items.SOURCES,
        "simulated": suite_panel.MODELS,
        "judge": {"finds": suite_panel.FINDS, "false_alarms": suite_panel.FALSE_ALARMS},
        "guesses": {"blind": suite_panel.GUESSES[False], "image": suite_panel.GUESSES[True]},
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "machine": {"cores": cores(), "load": round(os.getloadavg()[2], 1)},
        "seeds": seeds,
    }


def say(line: str) -> None:
    """Progress, beside the results."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--quick", dest="kind", action="store_const", const="quick", help="a minute or two")
    what.add_argument("--test", dest="kind", action="store_const", const="test", help="sizes that measure little")
    what.add_argument("--page", action="store_true", help="the page and the plot anew, from the results in --docs")
    parser.add_argument("--seeds", type=int, help="another number of seeds")
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of results, plot and page of a full run")
    given = parser.parse_args()
    if given.seeds is not None and given.seeds < 1:
        parser.error("--seeds: at least one")
    return given


def main() -> None:
    """Runs it; prints a summary, and writes results, plot and page if it is of full size."""
    given = arguments()
    stored = given.docs / f"{suite_page.NAME}.json"
    if given.page:
        result = json.loads(stored.read_text())
    else:
        kind = given.kind or "full"
        sizes = SIZES[kind] if given.seeds is None else replace(SIZES[kind], seeds=given.seeds)
        with tempfile.TemporaryDirectory() as folder:
            result = measured(sizes, kind, Path(folder))
    print("\n".join(suite_page.summary(result)))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    if result["size"] == "full":
        suite_page.write(result, given.docs)


if __name__ == "__main__":
    main()
