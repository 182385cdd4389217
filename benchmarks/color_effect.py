"""CoLoR-Filter's effect in miniature: how much less data reaches the same held-out loss, and what it takes.

    python benchmarks/color_effect.py              # three seeds; writes docs/color-effect.json, .svg and .md
    python benchmarks/color_effect.py --quick      # two seeds, less text; prints alone
    python benchmarks/color_effect.py --page       # the page and the plot from docs/color-effect.json; nothing is run

For each seed: a pool of worlds of text that this machine has (manuals are a small part of it), a small target set of
other manuals, and held-out manuals. `train color` trains a tiny pair; CoLoR, the conditional alone, DSIR and a
distilled CoLoR (a sample scored, `train fasttext --from-ledger`, all of the pool by fastText) each choose one row of
`tau`. A larger model then learns from each choice in one pass, and from the pool as it is; its loss on the held-out
manuals is taken on the way. `label` is what no selection can know: rows of the target's world, whichever.

Nothing is downloaded. A machine with too little text is told what it lacks.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import effect_page
import effect_texts
import numpy as np
from effect_selections import Selected, Sizes, select
from effect_texts import Wanted
from effect_training import Target, fewer, forward, stream, tokenizer_of, trained

from poolsieve.jobs.train.color.presets import PRESETS
from poolsieve.scoring_models.devices.choice import cores

DOCS = Path(__file__).parents[1] / "docs"

WAYS = ("random", "color", "conditional", "dsir", "distilled", "label")

SIZES = {
    "full": Sizes(
        wanted=Wanted(pool=3_200_000, share=1 / 16, target=40_000, held_out=60_000),
        tau=16,
        prior_tokens=204_800,
        epochs=4,
        sample=0.05,
        most=2_000_000,
        seeds=3,
    ),
    "quick": Sizes(
        wanted=Wanted(pool=1_600_000, share=1 / 16, target=24_000, held_out=30_000),
        tau=16,
        prior_tokens=102_400,
        epochs=4,
        sample=0.1,
        most=300_000,
        seeds=2,
    ),
    "test": Sizes(
        wanted=Wanted(pool=200_000, share=1 / 8, target=8_000, held_out=8_000),
        tau=8,
        prior_tokens=10_240,
        epochs=1,
        sample=0.5,
        most=20_000,
        seeds=1,
    ),
}


def one_seed(folder: Path, sizes: Sizes, seed: int) -> dict[str, Any]:
    """Everything that is measured with one seed, for JSON."""
    chosen = select(folder, sizes, seed, lambda step: say(f"seed {seed}: {step}"))
    target, tokenizer = Target(), tokenizer_of(chosen.conditional)
    held_out = stream(chosen.made.held_out, tokenizer, target.length)
    all_rows = chosen.made.rows
    curves: dict[str, Any] = {}
    for way in WAYS:
        say(f"seed {seed}: a target model on {way}")
        uids = chosen.kept[way]
        order = np.random.default_rng(seed).permutation(len(uids))
        chunks = stream([all_rows[uids[i]][2] for i in order], tokenizer, target.length)
        with chosen.timed(f"target: {way}"):
            curves[way] = trained(target, len(tokenizer), chunks, held_out, tokens=sizes.most, seed=seed)
    pool = stream([row[2] for row in all_rows.values()], tokenizer, 1).size
    return {
        "seed": seed,
        "pool": {"tokens": pool, "worlds": effect_texts.found(chosen.made)},
        "held_out_tokens": held_out.size,
        "words": len(tokenizer),
        "trained_tokens": chosen.tokens,
        "curves": curves,
        "seconds": {name: round(seconds, 1) for name, seconds in chosen.seconds.items()},
        **about_kept(chosen),
        "examples": examples(chosen) if seed == 0 else [],
    }


def about_kept(chosen: Selected) -> dict[str, Any]:
    """Of the rows that each way keeps: the share of manuals, and the share that CoLoR keeps as well."""
    color, rows = set(chosen.kept["color"]), chosen.made.rows
    kept = {way: uids for way, uids in chosen.kept.items() if way != "random"}
    return {
        "kept": {way: len(uids) for way, uids in kept.items()},
        "manuals": {way: share(rows[uid][0] == "manuals" for uid in uids) for way, uids in chosen.kept.items()},
        "agree": {way: share(uid in color for uid in uids) for way, uids in kept.items()},
    }


def share(truths: Any) -> float:
    """The share of true ones."""
    given = list(truths)
    return sum(given) / len(given) if given else 0.0


def examples(chosen: Selected) -> list[dict[str, Any]]:
    """The best, the last kept, the middle and the worst row by CoLoR, with their scores and beginnings."""
    order = sorted(chosen.scores, key=lambda uid: chosen.scores[uid][0])
    places = {"best": 0, "last kept": len(chosen.kept["color"]) - 1, "median": len(order) // 2, "worst": len(order) - 1}
    made = []
    for what, place in places.items():
        world, where, text = chosen.made.rows[order[place]]
        scores = dict(zip(("color", "prior", "conditional"), chosen.scores[order[place]], strict=True))
        made.append(
            {"what": what, "world": world, "file": Path(where).name, "text": " ".join(text.split())[:90], **scores}
        )
    return made


def cost(way: str, tokens: float, one: dict[str, Any], sizes: Sizes, ratio: float) -> float:
    """Forward passes of an auxiliary model over one token, as CoLoR-Filter counts (arXiv 2406.10670, table 1).

    3 for a token of training, 1 for one that is scored by one model, `ratio` times as much in the target model; the
    conditional's training, which the table leaves out, counts too. Words are counted (DSIR, fastText) for nothing.
    """
    passes = {"color": 2.0, "conditional": 1.0, "distilled": 2 * sizes.sample}.get(way, 0.0)
    pair = 3 * sum(one["trained_tokens"][name] for name in ("prior", "conditional")) if passes else 0
    return pair + passes * sizes.tau * tokens + 3 * tokens * ratio


def against_random(one: dict[str, Any], sizes: Sizes, ratio: float) -> dict[str, Any]:
    """How many times less data, and less compute, each way takes than random to one loss."""
    made: dict[str, Any] = {}
    for way in WAYS[1:]:
        found = fewer(one["curves"]["random"], one["curves"][way])
        if found is None:
            made[way] = None
            continue
        loss, plain, other = found
        spent = [cost(name, tokens, one, sizes, ratio) for name, tokens in (("random", plain), (way, other))]
        times = {"data": plain / other, "compute": spent[0] / spent[1]}
        made[way] = {"loss": loss, "random_tokens": plain, "tokens": other, "passes": spent, **times}
    return made


def measured(sizes: Sizes, kind: str, folder: Path) -> dict[str, Any]:
    """All seeds, each in a process of one thread: models as small as these gain nothing from a second one."""
    start = time.perf_counter()
    os.environ["OMP_NUM_THREADS"] = "1"
    auxiliary, target = PRESETS["tiny"], Target()
    folders = [folder / f"seed-{seed}" for seed in range(sizes.seeds)]
    with ProcessPoolExecutor(min(cores() + 1, sizes.seeds), get_context("spawn"), max_tasks_per_child=1) as workers:
        seeds = list(workers.map(one_seed, folders, [sizes] * sizes.seeds, range(sizes.seeds)))
    for one in seeds:
        ratio = forward(target.preset, one["words"]) / forward(auxiliary, one["words"])
        one["against_random"] = against_random(one, sizes, ratio)
    words = seeds[0]["words"]
    return {
        "size": kind,
        "command": "python benchmarks/color_effect.py" + ("" if kind == "full" else f" --{kind}"),
        "tau": sizes.tau,
        "sample": sizes.sample,
        "epochs": sizes.epochs,
        "auxiliary": {**auxiliary.to_dict(), "flops": forward(auxiliary, words)},
        "target": {**vars(target), "flops": forward(target.preset, words)},
        "ratio": forward(target.preset, words) / forward(auxiliary, words),
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "machine": machine(),
        "seeds": seeds,
    }


def machine() -> dict[str, float]:
    """Cores, how many processes wanted one in the last quarter of an hour, and what all of this took of one core."""
    used = os.times()
    minutes = (used.user + used.system + used.children_user + used.children_system) / 60
    return {"cores": cores(), "load": round(os.getloadavg()[2], 1), "cpu_minutes": round(minutes, 1)}


def say(line: str) -> None:
    """Progress, beside the results."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def summary(result: dict[str, Any]) -> list[str]:
    """A line for each way."""
    lines = []
    for way in WAYS[1:]:
        found = [one["against_random"][way] for one in result["seeds"] if one["against_random"][way]]
        if not found:
            lines.append(f"{way}: no loss that random reaches too")
            continue
        data, compute = ([one[name] for one in found] for name in ("data", "compute"))
        agree, own = ([one[name][way] for one in result["seeds"]] for name in ("agree", "manuals"))
        lines.append(
            f"{way}: {spread(data)} times less data, {spread(compute)} times less compute; "
            f"{statistics.median(own):.0%} manuals, {statistics.median(agree):.0%} of CoLoR's rows"
        )
    return lines


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--quick", dest="kind", action="store_const", const="quick", help="a few minutes")
    what.add_argument("--test", dest="kind", action="store_const", const="test", help="sizes that measure nothing")
    what.add_argument("--page", action="store_true", help="the page and the plot anew, from the results in --docs")
    parser.add_argument("--seeds", type=int, help="another number of seeds")
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument(
        "--docs", type=Path, default=DOCS, help="folder of results, plot and page of a run of full size"
    )
    given = parser.parse_args()
    if given.seeds is not None and given.seeds < 1:
        parser.error("--seeds: at least one")
    return given


def run(kind: str, seeds: int | None) -> dict[str, Any]:
    """The results of a run."""
    sizes = SIZES[kind] if seeds is None else replace(SIZES[kind], seeds=seeds)
    with tempfile.TemporaryDirectory() as folder:
        return measured(sizes, kind, Path(folder))


def main() -> None:
    """Runs it; prints a summary, and writes results, plot and page if it is of full size."""
    given = arguments()
    stored = given.docs / f"{effect_page.NAME}.json"
    result = json.loads(stored.read_text()) if given.page else run(given.kind or "full", given.seeds)
    print("\n".join(summary(result)))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    if result["size"] == "full":
        effect_page.write(result, given.docs)


if __name__ == "__main__":
    main()
