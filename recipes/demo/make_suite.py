"""Makes the evaluation suite of `make demo-suite`: items with planted ills, a panel's answers, a judge's verdicts.

    python recipes/demo/make_suite.py demo/suite

Writes items/*.parquet (uid, image, question, answer, options, capability, source), answers.parquet (item, model, image,
said), verdicts.parquet, plant.parquet (what each item is), skills.parquet (of the simulated models) and truth.parquet
(uid, matches: is it valid?). 24 models and the judge are simulated (`suite_panel.py` says how). The tiny models in
`suite_models` are real ones of `transformers` and are asked here, through `Panel`; a tenth of the
items unless --asked says otherwise. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import collections
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import suite_items
import suite_panel

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Score
from poolsieve.scoring_models import Panel

TINY = Path(__file__).parent / "suite_models"
NAMES = ("eye", "glimpse", "reader")
PROMPTS = {"prompt": "{question}", "choice_prompt": "{question}\n{options}", "choose": "text", "max_new_tokens": 5}
"""What the tiny models were trained with."""

VALID = ("good", "frontier")

Line = tuple[str, str, bool, str]


def uid_of(number: int) -> str:
    """An item's name."""
    return f"item-{number:05d}"


def items_table(items: Sequence[suite_items.Item]) -> pa.Table:
    """The pool's rows, in order."""
    columns = ("question", "answer", "capability", "source")
    return pa.table(
        {
            "uid": [uid_of(i) for i in range(len(items))],
            "image": pa.array([item.png for item in items], pa.binary()),
            **{name: [getattr(item, name) for item in items] for name in columns},
            "options": pa.array([item.options or None for item in items], pa.list_(pa.string())),
        }
    )


def plant_table(items: Sequence[suite_items.Item]) -> pa.Table:
    """What was planted: uid, kind, capability, source, whether the question is open."""
    names = ("kind", "capability", "source")
    made = {name: [getattr(item, name) for item in items] for name in names}
    uids = [uid_of(i) for i in range(len(items))]
    return pa.table({"uid": uids, **made, "open": [not item.options for item in items]})


def tiny_answers(table: pa.Table, models: Sequence[str]) -> Iterator[Line]:
    """What the tiny models say of the items, asked through `Panel` in a folder that goes away."""
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(table, Path(folder) / "items.parquet")
        panel = Panel({name: str(TINY / name) for name in models}, **PROMPTS)
        roles = {name: name for name in table.column_names if name != "uid"}
        pool = Pool.parquet(f"{folder}/items.parquet", uid="uid", **roles)
        poolsieve.run(pool | Score(panel=panel), f"{folder}/out", samples=False)
        for member in panel.members:
            for setting in ("blind", "image"):
                step = f"panel.ask.{member.slug}.{setting}"
                for uid, said in _stored(Path(folder) / "out", step, table["uid"].to_pylist()):
                    yield uid, member.name, setting == "image", said


def _stored(out: Path, step: str, uids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(uid, text) of a step of a panel whose pool has one shard."""
    for path in sorted(out.glob(f"scores/{step}-*/*.parquet")):
        for line in pq.read_table(path).to_pylist():
            if line[step]:
                yield uids[line["row"]], line[step][0]["text"]


def simulated_answers(items: Sequence[suite_items.Item], seed: int) -> Iterator[Line]:
    """What the simulated models say."""
    for number, model, image, said in suite_panel.answers(items, suite_panel.simulated(seed), seed):
        yield uid_of(number), model, image, said


def answers_table(lines: Iterator[Line]) -> pa.Table:
    """The file of answers."""
    columns = list(zip(*lines, strict=True))
    return pa.table(dict(zip(("item", "model", "image", "said"), map(list, columns), strict=True)))


def skills_table(seed: int) -> pa.Table:
    """Each simulated model's skill in each capability."""
    lines = [
        {"model": model.name, "capability": name, "skill": skill}
        for model in suite_panel.simulated(seed)
        for name, skill in model.skills.items()
    ]
    return pa.Table.from_pylist(lines)


def verdicts_table(items: Sequence[suite_items.Item], seed: int) -> pa.Table:
    """The judge's verdicts on all items; the recipe reads those of flagged ones."""
    lines = [{"item": uid_of(i), **one} for i, one in enumerate(suite_panel.verdicts(items, seed))]
    return pa.Table.from_pylist(lines)


def make(folder: Path, rows: int, shards: int, seed: int, asked: float, models: Sequence[str] = NAMES) -> pa.Table:
    """Writes the suite; the folder appears when it is whole. Gives the plant."""
    items = suite_items.planted(rows, seed)
    table, plant = items_table(items), plant_table(items)
    some = table.slice(0, round(asked * rows))
    tiny = list(tiny_answers(some, models)) if some.num_rows and models else []
    partial = folder.with_name(f"{folder.name}.partial")
    for path in (folder, partial):
        shutil.rmtree(path, ignore_errors=True)
    (partial / "items").mkdir(parents=True)
    step = -(-rows // shards)
    for shard in range(shards):
        pq.write_table(table.slice(shard * step, step), partial / "items" / f"part-{shard:05d}.parquet")
    valid = [kind in VALID for kind in plant["kind"].to_pylist()]
    files: dict[str, Any] = {
        "answers": answers_table(iter([*simulated_answers(items, seed), *tiny])),
        "verdicts": verdicts_table(items, seed),
        "plant": plant,
        "skills": skills_table(seed),
        "truth": pa.table({"uid": plant["uid"], "matches": valid}),
    }
    for name, made in files.items():
        pq.write_table(made, partial / f"{name}.parquet")
    partial.rename(folder)
    return plant


def main() -> None:
    """Writes the suite, and prints what is planted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--asked", type=float, default=0.1, help="share of the items that the tiny models are asked")
    given = parser.parse_args()
    plant = make(given.folder, given.rows, given.shards, given.seed, given.asked)
    for kind, count in collections.Counter(plant["kind"].to_pylist()).most_common():
        print(f"{count:6d} {kind}")


if __name__ == "__main__":
    main()
