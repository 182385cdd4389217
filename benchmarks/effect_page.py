"""The page of the effect, made from the results alone: every figure on it stands in `color-effect.json`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import effect_chart
from effect_tables import spread, table

NAME = "color-effect"

NAMES = {
    "random": "random",
    "color": "CoLoR",
    "conditional": "conditional only",
    "dsir": "DSIR",
    "distilled": "CoLoR, distilled",
    "label": "by label (not a method)",
}

Result = dict[str, Any]


def write(result: Result, folder: Path) -> None:
    """Writes the results, the plot and the page."""
    (folder / f"{NAME}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{NAME}.svg").write_text(plot(result))
    (folder / f"{NAME}.md").write_text(page(result))


def plot(result: Result) -> str:
    """The SVG."""
    curves = {way: [[tuple(point) for point in one["curves"][way]] for one in result["seeds"]] for way in NAMES}
    title = f"Held-out manuals: the loss of a model trained on one row of {result['tau']}"
    return effect_chart.svg(curves, NAMES, title)


def page(result: Result) -> str:
    """The Markdown."""
    sections = (_head, _said, _ways, _costs, _rows, _pool, _limits)
    return "\n\n".join(section(result) for section in sections) + "\n"


def _each(result: Result, get: Callable[[Result], float]) -> str:
    return spread([get(one) for one in result["seeds"]])


def _head(result: Result) -> str:
    target, small = result["target"], result["auxiliary"]
    return f"""# CoLoR-Filter's effect in miniature

`{result["command"]}` makes this page, its plot and [its numbers]({NAME}.json). {_time(result)}
Spreads are median (least to most) over {len(result["seeds"])} seeds: each has a pool, a target set, a pair of models and a target model of its
own.

- **Pool**: worlds of text that a Debian machine has, {_tokens(result)} tokens, in pieces of about 800 characters. Manual pages are
  a sixteenth of it.
- **Target set**: {_target(result)} tokens of other manual pages, seen {result["epochs"]} times. Held out: {_held(result)} tokens of
  manuals of yet other families (`git-*` is one family).
- **Pair**: `poolsieve train color --preset tiny` ({small["layers"]} layers, {small["width"]} wide). It saw
  {result["seeds"][0]["trained_tokens"]["prior"]:,} tokens of the pool, then the target set.
- **Choice**: one row of {result["tau"]}: `Top("color", tau={result["tau"]}, lowest=True)` and its like.
- **Target model**: {target["layers"]} layers, {target["width"]} wide, {result["ratio"]:.1f} times the operations of one of the pair for a
  token. It reads the chosen rows once. The learning rate is constant, so that each point of a curve is a training of its own.

![Held-out loss against tokens seen, for each way to choose]({NAME}.svg)"""


def _time(result: Result) -> str:
    machine = result.get("machine")
    if machine is None:
        return f"This run took {result['minutes']:.0f} minutes."
    return (
        f"This run took {result['minutes']:.0f} minutes, {machine['cpu_minutes']:.0f} minutes of one core in all, on {machine['cores']} cores "
        f"with a load of {machine['load']:.0f}."
    )


def _tokens(result: Result) -> str:
    return f"{round(statistics.median(one['pool']['tokens'] for one in result['seeds']), -4):,.0f}"


def _target(result: Result) -> str:
    seen = statistics.median(one["trained_tokens"]["conditional"] for one in result["seeds"])
    return f"{seen / result['epochs']:,.0f}"


def _held(result: Result) -> str:
    return f"{round(statistics.median(one['held_out_tokens'] for one in result['seeds']), -3):,.0f}"


def _said(result: Result) -> str:
    color = [one["against_random"]["color"] for one in result["seeds"]]
    data, compute = (spread([one[name] for one in color]) for name in ("data", "compute"))
    return f"""## What came of it

**CoLoR's choice reaches the same held-out loss with {data} times less data than random, and with {compute} times less
compute, the training of the pair and the scoring of the pool included.**

Compared at the lowest loss that both curves reach; between two points of a curve, by the logarithm of tokens."""


def _ways(result: Result) -> str:
    rows = [_way(result, way) for way in NAMES if way != "random"]
    head = ("choice", "times less data", "times less compute", "manuals among its rows", "rows that CoLoR keeps too")
    own = spread([one["manuals"]["random"] for one in result["seeds"]], "{:.0%}")
    return f"{table(head, rows)}\n\nOf the pool's rows {own} are manuals. {_agree(result)}"


def _way(result: Result, way: str) -> list[str]:
    found = [one["against_random"][way] for one in result["seeds"] if one["against_random"][way]]
    times = [spread([one[name] for one in found]) if found else "no common loss" for name in ("data", "compute")]
    shares = [spread([one[key][way] for one in result["seeds"]], "{:.0%}") for key in ("manuals", "agree")]
    if way == "label":
        times[1] = "(needs the labels)"
    return [NAMES[way], *times, *shares]


def _agree(result: Result) -> str:
    agree = spread([one["agree"]["distilled"] for one in result["seeds"]], "{:.0%}")
    rows = spread([one["trained_tokens"]["sample"] for one in result["seeds"]], "{:.0f}")
    return (
        f"Distilling (`Pool.sample({result['sample']})`, that is {rows} rows, scored by the pair; `train fasttext --from-ledger` on the "
        f"best tenth and the worst half of them; fastText over the whole pool) keeps {agree} of the rows that CoLoR keeps."
    )


def _costs(result: Result) -> str:
    rows = []
    for way in ("random", *(name for name in NAMES if name not in ("random", "label"))):
        found = [one["against_random"]["color" if way == "random" else way] for one in result["seeds"]]
        some = [one for one in found if one]
        if some:
            place, key = (0, "random_tokens") if way == "random" else (1, "tokens")
            million = [one["passes"][place] / 1e6 for one in some]
            flops = [one["passes"][place] * result["auxiliary"]["flops"] / 1e12 for one in some]
            rows.append(
                [
                    NAMES[way],
                    spread([one[key] / 1e3 for one in some], "{:.0f}"),
                    spread(million),
                    spread(flops, "{:.2f}"),
                ]
            )
    small, large = result["auxiliary"]["flops"], result["target"]["flops"]
    ratio, tau = result["ratio"], result["tau"]
    head = ("choice", "thousand tokens of it", "million forward passes of a small model over a token", "TFLOP")
    return f"""## What it takes

As the paper counts (arXiv 2406.10670, table 1), in forward passes of one model of the pair over one token: 3 for each token of the
pair's training (the table leaves out the conditional's; here it counts), {tau} x 2 for each token that CoLoR keeps and trains on, {tau} x 1 for
conditional only, {tau} x 2 x {result["sample"]} for the distilled one, and 3 x {ratio:.1f} for each token that the target model
learns from. Counting words (DSIR, fastText) counts for nothing: it is far below one pass. A pass is {small / 1e6:.2f} MFLOP a token, and
{large / 1e6:.2f} in the target model (2 for each weight of a matrix, and attention over half a context). To the loss at which each is
compared with random (random itself: with CoLoR):

{table(head, rows)}

The larger the target model is beside the pair, the less the pair and its scoring weigh; and the scores of one pool serve any number of
cuts and of target models. The paper, with L = 5.5 and a prior of 3.1 B tokens, comes to 5 times less compute for Books."""


def _rows(result: Result) -> str:
    examples = [one for seed in result["seeds"] for one in seed["examples"]]
    rows = [
        [
            one["what"],
            f"{one['color']:+.2f}",
            f"{one['prior']:.2f}",
            f"{one['conditional']:.2f}",
            f"{one['world']}: {_quoted(one['text'])}",
        ]
        for one in examples
    ]
    return f"""## What scores look like

Rows of the first seed's pool, by `color` = `color.conditional` - `color.prior`, in nats a token:

{table(("row", "color", "prior", "conditional", "what it is"), rows)}

In the paper (pool C4, target Books, chunks of 512 tokens): -0.35 for a good outlier, 0.40 near the best 3 %, 0.73 for the median,
5.45 for a bad outlier (arXiv 2406.10670). Most of a pool has a positive score: training further on the target makes a model worse
at everything else. So 0 is no limit to cut at; the cut is a rank."""


def _quoted(text: str) -> str:
    """As code in a table: without what would end it."""
    clean = text.replace("`", "'").replace("|", "\u00a6")
    return f"`{''.join(one for one in clean if one.isprintable())}`"


def _pool(result: Result) -> str:
    one = result["seeds"][0]
    rows = [[name, f"{at['rows']:,}", f"{at['characters']:,}"] for name, at in one["pool"]["worlds"].items()]
    return f"""## The pool of the first seed

{table(("world", "rows", "characters"), rows)}

Another machine has other files, and other figures; the script says what it lacks where there is too little."""


def _limits(result: Result) -> str:
    data = _each(result, lambda one: one["against_random"]["label"]["data"])
    return f"""## What this does not say

- The worlds are far apart, and how rare the target's is was chosen: a sixteenth. Rows of that world by its label come to {data} times less
  data, so that there is little more to be had here. A crawl has no such labels, and its good rows are not so easily told.
- With few seeds and held-out manuals of few families the ways are not told apart where their spreads overlap.
- Models and data are small: {_tokens(result)} tokens of pool where the paper has 176 B. The paper's own figures (25 times less data for Books,
  11 times for downstream tasks, 1.2 B parameters) come from there.
- The sample that is distilled has hardly more than a dozen good rows. A classifier of a real pool's 5 % sees thousands."""
