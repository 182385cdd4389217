"""The page of the suites' effect, made from the results alone: every figure on it stands in `suite-effect.json`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import effect_chart
from effect_tables import spread, table
from suite_measures import reached

from poolsieve.filters.items.guessing import tail

NAME = "suite-effect"

WAYS = {
    "discriminative": "discriminative",
    "random": "random",
}

LEVELS = (0.9, 0.95)
"""Rank correlations that a subset is wanted to reach."""

Result = dict[str, Any]


def write(result: Result, folder: Path) -> None:
    """Writes the results, the plots and the page."""
    (folder / f"{NAME}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{NAME}.svg").write_text(plot(result))
    (folder / f"{NAME}.md").write_text(page(result))


def plot(result: Result) -> str:
    """Total discrimination against the size of the subset, as an SVG."""
    curves = {way: [curve(one, way, "total") for one in result["seeds"]] for way in WAYS}
    title = "The sum of discrimination that a subset keeps"
    return effect_chart.svg(
        curves, WAYS, title, "items of each capability (logarithmic)", "share of the whole's sum of r"
    )


def curve(one: Result, way: str, what: str) -> effect_chart.Curve:
    """(items of each capability, measure) of one seed."""
    return [(int(size), found[what]) for size, found in one["subsets"][way].items()]


def page(result: Result) -> str:
    """The Markdown."""
    sections = (_head, _said, _stages, _lost, _subsets, _tiny, _rows, _limits)
    return "\n\n".join(section(result) for section in sections) + "\n"


def summary(result: Result) -> list[str]:
    """A line for each stage and each way to choose."""
    lines = []
    for tau in result["seeds"][0]["taus"]:
        for reason in result["seeds"][0]["taus"][tau]["stages"]:
            precision, recall = (_stage(result, tau, reason, what) for what in ("precision", "recall"))
            lines.append(f"tau {tau}, {reason}: precision {precision}, recall {recall}")
        lines.append(f"tau {tau}: of valid items {_lost_share(result, tau, 'all', 'blind')} go as blind-solvable")
    for way, name in WAYS.items():
        lines.append(
            f"{name}: {_needed(result, way, 'true', LEVELS[0])} for a rank correlation of {LEVELS[0]} with the true order"
        )
    return lines


def _each(result: Result, get: Callable[[Result], float | None], form: str = "{:.0%}") -> str:
    """Over the seeds; those without a value are left out."""
    values = [value for one in result["seeds"] if (value := get(one)) is not None]
    return spread(values, form) if values else "none"


def _stage(result: Result, tau: str, reason: str, what: str) -> str:
    return _each(result, lambda one: one["taus"][tau]["stages"][reason][what])


def _lost_share(result: Result, tau: str, form: str, what: str) -> str:
    return _each(result, lambda one: one["taus"][tau]["lost"][form][what])


def _needed(result: Result, way: str, what: str, level: float) -> str:
    """The items of each capability that a level takes, over the seeds."""
    found = [reached(one["subsets"][way], what, level) for one in result["seeds"]]
    sizes = [size for size in found if size is not None]
    most = max(result["counts"])
    if len(sizes) < len(found):
        return (
            f"{statistics.median_low(sizes)} items, in {len(found) - len(sizes)} of {len(found)} seeds over {most}"
            if sizes
            else f"over {most} items"
        )
    return f"{spread(sizes, '{:.0f}')} items"


def _head(result: Result) -> str:
    machine, judge, guesses = result["machine"], result["judge"], result["guesses"]
    shares = ", ".join(f"{share:.0%} {name}" for name, share in result["shares"].items())
    return f"""# What the stages of a suite find, in miniature

`{result["command"]}` makes this page, its plot and [its numbers]({NAME}.json). This run took {result["minutes"]:.0f} minutes on
{machine["cores"]} cores with a load of {machine["load"]:.0f}. Spreads are median (least to most) over {len(result["seeds"])} seeds; each has a suite and a panel of its own.

- **Suite** (`recipes/demo/suite_items.py`): {result["rows"]:,} items in three capabilities (the colour of a shape, counting shapes, reading a
  number on a sign), drawn from a seed. Three sources: `PicQuiz` has four options, `PicExam` three, `PicAsk` asks openly. What is planted:
  {shares}.
  *good* and *frontier* items are valid; no simulated model can do a frontier item.
- **Simulated models** (`recipes/demo/suite_panel.py`): {result["simulated"]}, with a skill in each capability. Each solves an item with a chance that
  rises with its skill, and guesses else: always where there are options; of open questions {guesses["blind"]:.0%} without the image and
  {guesses["image"]:.0%} with it. The true order of the models is that of their skills.
- **Real models** (`recipes/demo/suite_models`): two that see (a LLaVA of a few hundred thousand weights) and one that reads, trained on such
  items within minutes by `recipes/demo/train_suite.py`, asked through `Panel` about {result["asked"]:.0%} of the items. The others they
  did not answer.
- **Judge**: simulated. It finds an ill that is there with a chance of {judge["finds"]:.0%}, and says of {judge["false_alarms"]:.0%} that one is there
  which is not.
- **Run**: `recipes/suite.py`, decided again for each limit and size."""


def _said(result: Result) -> str:
    guessed = _lost_share(result, "6", "choice", "blind")
    kept = _lost_share(result, "chance", "choice", "blind")
    half = str(sorted(result["counts"])[len(result["counts"]) // 2])
    total = {
        way: _each(result, lambda one, way=way: one["subsets"][way][half]["total"])
        for way in ("discriminative", "random")
    }
    return f"""## What came of it

- **A fixed tau discards by guessing**: with tau = 6, {guessed} of the valid items with options go as blind-solvable; with
  `tau="chance"` {kept}.
- **Options hide wrong labels**: guessers hit the wrong label too, so that the panel flags {_flagged(result, "choice")} of the wrongly
  labelled items with options, and {_flagged(result, "open")} of the open ones. What nobody flags is not judged. This is what asking without
  options, or with all rotations, is for ([suites.md](suites.md#options)).
- **{half} items of each capability** keep {total["discriminative"]} of the sum of discrimination, random ones {total["random"]}.
- **The models' order** takes {_needed(result, "discriminative", "true", LEVELS[0])} of each capability for a rank correlation of {LEVELS[0]} with the true
  order by discrimination, and {_needed(result, "random", "true", LEVELS[0])} at random."""


def _flagged(result: Result, form: str) -> str:
    return _each(result, lambda one: one["taus"]["chance"]["stages"]["suite.wrong_label"][f"flagged {form}"])


def _stages(result: Result) -> str:
    head = ("reason", "limit", "rows", "precision", "recall", "recall, open", "recall, options")
    rows = []
    for tau, found in result["seeds"][0]["taus"].items():
        for reason in found["stages"]:
            dropped = _each(
                result, lambda one, tau=tau, reason=reason: one["taus"][tau]["stages"][reason]["dropped"], "{:.0f}"
            )
            shares = [
                _stage(result, tau, reason, what) for what in ("precision", "recall", "recall open", "recall choice")
            ]
            rows.append([f"`{reason}`", f"{tau}", dropped, *shares])
    before, after = (
        _each(result, lambda one, what=what: one["taus"]["chance"][what]) for what in ("valid before", "valid after")
    )
    return f"""## Each stage against the plant

Precision: of the rows with a reason, the share that was planted for it. Recall: of all that was planted for it, the share that has the
reason; an item that an earlier stage dropped counts as missed.

{table(head, rows)}

With `tau="chance"` {before} of the items are valid before these stages, and {after} behind them. Ambiguous items are planted so
that some readers take them the stored way: where any model is right, nobody asks the judge."""


def _lost(result: Result) -> str:
    rows = []
    for tau in ("chance", "6"):
        for form, name in (("choice", "with options"), ("open", "open"), ("all", "all")):
            rows.append([f"`{tau}`", name, *(_lost_share(result, tau, form, what) for what in ("blind", "judged"))])
    return f"""## What is lost of valid items

{table(("tau", "valid items", "dropped as blind-solvable", "dropped by the judge"), rows)}

tau = 6 is what the published table has for most multiple choice, of 27 models (`tau="datbench"`). It holds for items with options here,
and 1 for open ones. Of {result["simulated"]} models that only guess among four options, 6 or more are right on {_pure(result["simulated"], 4)} of the items, among three
on {_pure(result["simulated"], 3)}. An open item goes from one model on, so that a lucky guess costs it its place."""


def _pure(models: int, options: int) -> str:
    return f"{float(tail(6, models, options)):.0%}"


def _subsets(result: Result) -> str:
    head = (
        "items of each capability",
        *(f"{name}: {what}" for what in ("sum of r", "true order") for name in WAYS.values()),
    )
    rows = []
    for size in map(str, result["counts"]):
        cells = [
            _each(result, lambda one, way=way, what=what, size=size: one["subsets"][way][size][what], form)
            for what, form in (("total", "{:.0%}"), ("true", "{:.2f}"))
            for way in WAYS
        ]
        rows.append([size, *cells])
    needed = [
        [name, *(_needed(result, way, what, level) for what in ("whole", "true") for level in LEVELS)]
        for way, name in WAYS.items()
    ]
    levels = [f"{level} with the {what}" for what in ("whole", "true order") for level in LEVELS]
    raw, cleaned = (
        _each(result, lambda one, what=what: statistics.fmean(one["order"][what].values()), "{:.3f}")
        for what in ("raw", "cleaned")
    )
    return f"""## Subsets

![The sum of discrimination that a subset keeps, against its size]({NAME}.svg)

Of the items that these stages leave (`tau="chance"`). The sum of r is a share of that of all of them, above 100 % where items with
a negative r are left out. The order is Spearman's rank correlation of the simulated models' scores with their true skills, the mean of
the capabilities. A fifth of the places may go to frontier items, which have no r. Random subsets are the mean of {result["draws"]} draws.

{table(head, rows)}

The least size from which on a rank correlation is reached:

{table(("choice", *levels), needed)}

On the whole planted suite the rank correlation with the true order is {raw}, on the cleaned one {cleaned}."""


def _tiny(result: Result) -> str:
    models = sorted({model for one in result["seeds"] for model in one["tiny"]})
    groups = sorted(
        {
            group
            for one in result["seeds"]
            for found in one["tiny"].values()
            for group in found
            if group.startswith("image") or group in ("blind leak", "blind good")
        }
    )
    rows = [
        [
            f"`{model}`",
            *(
                _each(
                    result, lambda one, model=model, group=group: one["tiny"].get(model, {}).get(group, {}).get("right")
                )
                for group in groups
            ),
        ]
        for model in models
    ]
    return f"""## The real models

Shares of right answers, of good items with the image (by capability) and without it, and of leaking items without it. Guessing among the
options is in them.

{table(("model", *groups), rows)}"""


def _rows(result: Result) -> str:
    examples = [one for seed in result["seeds"] for one in seed["examples"]]
    head = ("planted", "question", "stored answer", "the picture says", "right blind", "right", "reason")
    rows = [
        [
            one["kind"],
            one["question"],
            one["answer"],
            one["true"],
            f"{one['panel.blind_right']}",
            f"{one['panel.right']} of {one['panel.asked']}",
            f"`{one['reason']}`" if one["reason"] else "kept",
        ]
        for one in examples
    ]
    return f"""## Some items

The first open item of each kind in the first seed's suite, with {max(result["counts"])} items of each capability kept:

{table(head, rows)}"""


def _limits(result: Result) -> str:
    return f"""## What this does not say

- The models' answers are drawn from the curves that item response theory has, independent of one another given their skills. Real models
  share training data and errors: they guess alike, and miss alike.
- The judge's errors are drawn as well. A real judge errs more on what is hard to see, and its errors are those of the models it judges.
- r is computed from the answers by which subsets are compared with the whole, so that agreement with the whole flatters it; the true
  order does not. A panel that was not there when items were chosen is the harder test.
- {result["rows"]:,} items and {result["simulated"]} models are few. DatBench keeps 5,000 items of each capability, with 27 models."""
