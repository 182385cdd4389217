"""What `suite_effect.py` measures of one planted suite: each stage against the plant, and subsets against the whole."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from poolsieve.jobs.report.suites import spearman
from poolsieve.scoring_models.marking.letters import LETTERS

STAGES = {
    "suite.blind_solvable": "leak",
    "suite.wrong_label": "wrong_label",
    "suite.ambiguous": "ambiguous",
    "suite.needs_resolution": "needs_resolution",
}
"""A reason, and the planted kind that it is for."""

VALID = ("good", "frontier")

SIMULATED = "sim-"

Array = np.ndarray[Any, Any]
Found = dict[str, Any]


@dataclass(frozen=True)
class Planted:
    """A suite with what only the plant knows, n items in order, m simulated models.

    Attributes:
        uids, kinds, capabilities: str (n,).
        open: bool (n,).
        right: bool (n, m), with the image, marked here by plain comparison.
        skills: capability -> float (m,).
        tiny: of the real models, what they got right, by what was asked.
    """

    uids: Array
    kinds: Array
    capabilities: Array
    open: Array
    right: Array
    skills: Mapping[str, Array]
    tiny: Found

    @classmethod
    def read(cls, folder: Path) -> Planted:
        """Of a folder that `recipes/demo/make_suite.py` wrote."""
        plant = pq.read_table(folder / "plant.parquet").to_pydict()
        rows = [row for path in sorted(folder.glob("items/*.parquet")) for row in _items(path)]
        wanted = {row["uid"]: wanted_of(row) for row in rows}
        said = pq.read_table(folder / "answers.parquet").to_pylist()
        names = sorted({line["model"] for line in said if line["model"].startswith(SIMULATED)})
        places, columns = ({one: i for i, one in enumerate(given)} for given in (plant["uid"], names))
        right = np.zeros((len(places), len(names)), dtype=bool)
        for line in said:
            if line["image"] and line["model"] in columns:
                right[places[line["item"]], columns[line["model"]]] = line["said"] == wanted[line["item"]]
        skills = pq.read_table(folder / "skills.parquet").to_pylist()
        by = {(line["model"], line["capability"]): line["skill"] for line in skills}
        kinds = ("uid", "kind", "capability", "open")
        return cls(
            *(np.array(plant[name]) for name in kinds),
            right=right,
            skills={one: np.array([by[name, one] for name in names]) for one in sorted(set(plant["capability"]))},
            tiny=tiny_of(
                said, wanted, dict(zip(plant["uid"], zip(plant["kind"], plant["capability"], strict=True), strict=True))
            ),
        )


def _items(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path, columns=["uid", "answer", "options"]).to_pylist()


def wanted_of(row: Mapping[str, Any]) -> str:
    """What is right: the answer, or the letter of it."""
    return LETTERS[row["options"].index(row["answer"])] if row["options"] else row["answer"]


def tiny_of(
    said: Iterable[Mapping[str, Any]], wanted: Mapping[str, str], known: Mapping[str, tuple[str, str]]
) -> Found:
    """Each real model's share of right answers: of good items by capability with the image, of leaks and good ones without."""
    marks: dict[str, dict[str, list[bool]]] = {}
    for line in said:
        if line["model"].startswith(SIMULATED):
            continue
        kind, capability = known[line["item"]]
        group = f"image {capability}" if line["image"] and kind == "good" else f"blind {kind}"
        if line["image"] and kind != "good":
            continue
        marks.setdefault(line["model"], {}).setdefault(group, []).append(line["said"] == wanted[line["item"]])
    return {
        model: {group: {"items": len(some), "right": sum(some) / len(some)} for group, some in sorted(groups.items())}
        for model, groups in sorted(marks.items())
    }


def share(rows: Array) -> float | None:
    """The share of true ones; None of nothing."""
    return float(rows.mean()) if rows.size else None


def against_plant(planted: Planted, reasons: Array, flagged: Array) -> Found:
    """What each stage drops, by what was planted.

    Args:
        planted: the suite.
        reasons: str (n,), "" for rows that no stage before the last dropped.
        flagged: bool (n,): no model was right.
    """
    made: Found = {}
    for reason, kind in STAGES.items():
        dropped, there = reasons == reason, planted.kinds == kind
        forms = {"open": there & planted.open, "choice": there & ~planted.open}
        made[reason] = {
            "dropped": int(dropped.sum()),
            "planted": int(there.sum()),
            "precision": share(planted.kinds[dropped] == kind),
            "recall": share(dropped[there]),
            **{f"recall {form}": share(dropped[rows]) for form, rows in forms.items()},
            **{f"flagged {form}": share(flagged[rows]) for form, rows in forms.items()},
        }
    return {"stages": made, "lost": lost(planted, reasons), **left(planted, reasons)}


def lost(planted: Planted, reasons: Array) -> Found:
    """Of valid items, the share that each stage drops: of all, of open questions, of those with options."""
    valid = np.isin(planted.kinds, VALID)
    forms = {"all": valid, "open": valid & planted.open, "choice": valid & ~planted.open}
    blind = reasons == "suite.blind_solvable"
    judged = (reasons != "") & ~blind
    return {form: {"blind": share(blind[rows]), "judged": share(judged[rows])} for form, rows in forms.items()}


def left(planted: Planted, reasons: Array) -> Found:
    """The share of valid items, before and after the stages, and how many stay."""
    valid, kept = np.isin(planted.kinds, VALID), reasons == ""
    return {"valid before": share(valid), "valid after": share(valid[kept]), "left": int(kept.sum())}


def order(planted: Planted, rows: Array) -> Found:
    """Spearman's correlation of the models' order on some items with the true one, and their scores, by capability."""
    made: Found = {}
    for capability, skills in planted.skills.items():
        some = rows & (planted.capabilities == capability)
        made[capability] = spearman(planted.right[some].mean(axis=0).tolist(), skills.tolist()) or 0.0
    return made


def alike(planted: Planted, rows: Array, whole: Array) -> float:
    """Mean over capabilities of Spearman's correlation between the models' scores on some items and on all."""
    made = []
    for capability in planted.skills:
        here = planted.capabilities == capability
        some, every = (planted.right[one & here].mean(axis=0).tolist() for one in (rows, whole))
        made.append(spearman(some, every) or 0.0)
    return statistics.fmean(made)


def of_subset(planted: Planted, rows: Array, whole: Array, r: Array) -> Found:
    """What a subset keeps: of the sum of discrimination, of the models' order, and of valid items."""
    return {
        "items": int(rows.sum()),
        "total": float(np.nansum(r[rows]) / np.nansum(r[whole])),
        "whole": alike(planted, rows, whole),
        "true": statistics.fmean(order(planted, rows).values()),
        "valid": share(np.isin(planted.kinds[rows], VALID)),
    }


def random_subset(planted: Planted, whole: Array, count: int, dice: np.random.Generator) -> Array:
    """bool (n,): `count` of the items of each capability, or all of them."""
    made = np.zeros(len(whole), dtype=bool)
    for capability in planted.skills:
        places = np.flatnonzero(whole & (planted.capabilities == capability))
        made[dice.permutation(places)[:count]] = True
    return made


def mean_of(found: Sequence[Found]) -> Found:
    """Means of what several draws came to."""
    return {name: statistics.fmean(one[name] for one in found) for name in found[0]}


def reached(curve: Mapping[str, Found], what: str, level: float) -> int | None:
    """The least size of a curve (size -> measures) from which on a measure is never below a level; None if it ends below."""
    sizes = sorted(map(int, curve))
    enough: int | None = None
    for size in reversed(sizes):
        if curve[str(size)][what] < level:
            break
        enough = size
    return enough
