"""What boxes do: whole commands and the checks after them. Named functions over plain values, since they travel."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import apache_beam  # noqa: F401  (loaded once, by the fork server, as is what follows)

from poolsieve.dataflow import fs
from poolsieve.dataflow.decisions.decide import decide_shards
from poolsieve.dataflow.decisions.record import Record
from poolsieve.dataflow.decisions.summary import finish_decision
from poolsieve.dataflow.export import pipeline as export_pipeline  # noqa: F401
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.passes import pipeline  # noqa: F401
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.passes.scoring import score_shard
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.store.layout import summary_url
from poolsieve.dataflow.store.manifest import write_manifest
from poolsieve.dataflow.store.session import ending
from poolsieve.dataflow.store.summary import Work, dumps
from poolsieve.jobs import api
from tests.conftest import run
from tests.fuzz import checks
from tests.fuzz.worlds import WORLDS

_BATCHES = ("formats.base", "formats.parquet.read", "formats.webdataset.read", "formats.jsonl.read")


def sieve(kind: str, folder: str, out: str, formats: Sequence[str], whole: bool = True) -> list[str]:
    """A run over a pool (`whole`: with Beam and a report), its checks, and exports to some formats with theirs."""
    warnings.simplefilter("ignore")
    recipe = WORLDS[kind].recipe(folder)
    api.run(recipe, out, say=lambda text: None) if whole else plainly(recipe, out)
    place = Path(out)
    found = [*checks.visible(place), *checks.adds_up(place), *checks.subset(place)]
    for name in formats:
        target = place / f"export-{name}"
        export(out, target=str(target), format=name)
        found += checks.exported(place, target, may_lose=kind == "parquet")
    return found


def sieve_again(kind: str, folder: str, out: str, batch_rows: int, workers: int) -> None:
    """The same run in small batches: by Beam with so many workers, or without Beam and shards in another order for 0."""
    for module in _BATCHES:
        vars(importlib.import_module(f"poolsieve.dataflow.pools.{module}"))["BATCH_ROWS"] = batch_rows
    recipe = WORLDS[kind].recipe(folder)
    if workers:
        run(recipe, out, workers=workers)
    else:
        plainly(recipe, out)


def plainly(recipe: Recipe, out: str) -> None:
    """A run of a recipe without cuts in a loop, last shard first."""
    plan = prepare(recipe, out)
    record = Record()
    with ending(plan.job.run_id):
        for shard in reversed(plan.shards):
            score_shard(shard, plan.job, {}, stop=None, label="Pass1")
        for shard in reversed(plan.shards):
            record.add(decide_shards([shard], plan.job, {}, None, label="Decide"))
        found = finish_decision(record, plan.job, {}, None, Work())
        fs.write_bytes(summary_url(plan.job.out, found.decision), dumps(found.to_json()))
        write_manifest(plan.job, found, plan.gaps)


def decode(paths: Sequence[str]) -> list[str]:
    """Every decoder over damaged images."""
    from PIL import Image

    from poolsieve.jobs.report.thumbnails import picture_uri
    from poolsieve.scoring_models.base.errors import RowError
    from poolsieve.scoring_models.base.images_io import decode_image, open_image

    warnings.simplefilter("ignore")
    found = []
    for path in paths:
        data = Path(path).read_bytes()
        try:
            for made in (open_image(data), decode_image(data)):
                assert isinstance(made, (Image.Image, RowError))
            uri, why = picture_uri(data)
            assert (uri is None) == bool(why)
        except Exception as error:  # noqa: BLE001
            found.append(f"{path}: {_brief(error)}")
    return found


def load_lists(paths: Sequence[str]) -> list[str]:
    """Damaged lists of uids."""
    from poolsieve.filters.lists import PAIR, is_sorted, load_list
    from poolsieve.scoring_models.base.errors import PlanError

    found = []
    for path in paths:
        try:
            made = load_list(path)
            if made.dtype != PAIR or made.ndim != 1 or not is_sorted(made):
                found.append(f"{path}: {made.dtype}, {made.shape}, sorted: {is_sorted(made)}")
        except PlanError:
            continue
        except Exception as error:  # noqa: BLE001
            found.append(f"{path}: {_brief(error)}")
    return found


def plan_recipes(paths: Sequence[str], folder: str) -> list[str]:
    """Plans from damaged recipe files, in a folder with a pool."""
    from poolsieve.scoring_models.base.errors import PoolsieveError

    warnings.simplefilter("ignore")
    os.chdir(folder)
    found = []
    for path in paths:
        try:
            plan = prepare(api.given(path), os.path.join(folder, "out"))
            assert str(plan.job.recipe) and plan.job.program.rules() is not None
        except (PoolsieveError, OSError):
            continue
        except Exception as error:  # noqa: BLE001
            found.append(f"{path}: {_brief(error)}")
    return found


def _brief(error: Exception) -> str:
    """An exception in one line, with the places in our own code that it came through, the last ones first."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(one.filename).name}:{one.name}" for one in reversed(frames) if "tests" not in one.filename]
    return f"{type(error).__name__}: {str(error)[:300]} < {' < '.join(places[:5])}"


RECIPE = """
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Top, col

def recipe(folder: str, words: int = 2, fraction="0.4"):
    return (
        Pool.parquet(f"{folder}/pool/*.parquet", uid="uid", text="text")
        | Keep(col("text").word_count() >= words, reason="caption.short")
        | Top("clip", fraction=fraction, of="pool")
    )
"""
"""For tests of OUT and of pairs of commands: two statistics, and a cut that needs the whole pool."""


def make_out(folder: str) -> str:
    """Two decisions, a whole export and an unfinished one; the current ledger's hash."""
    warnings.simplefilter("ignore")
    out, recipe = f"{folder}/out", f"{folder}/recipe.py"
    api.run(recipe, out, params={"folder": folder, "fraction": "0.2"})
    api.run(recipe, out, params={"folder": folder})
    api.export(out)
    api.export(out, to=f"{out}/other", format="jsonl")
    notes = Path(out, "other", ".poolsieve-export", "0123456789abcdef")
    notes.mkdir(parents=True)
    (notes / "plan.json").write_text('{"files": ["data/train-00000-of-00001.jsonl.zst"]}')
    return fingerprint(out)


def fingerprint(out: str) -> str:
    """One hash of the current decision's ledger."""
    return hashlib.sha256(repr(sorted(checks.ledger_bytes(Path(out)).items())).encode()).hexdigest()


def use_outs(numbers: Sequence[int], folder: str, reference: str) -> list[str]:
    """Damaged copies of `pristine`, each by its number, and some commands on each."""
    from tests.fuzz.outs import commands, damage

    place, found = Path(folder), []
    for number in numbers:
        r = Random(f"out {number}")
        shutil.rmtree(place / "out", ignore_errors=True)
        shutil.copytree(place / "pristine", place / "out")
        before = checks.fence(place, place / "out", place / "logs")
        hit = [damage(r, place) for _ in range(r.choice((1, 1, 2)))]
        sound = not any(name.startswith(("rows/", "scores/")) for name in hit)
        some = commands(r)
        told = use_out(folder, some, reference if sound else "")
        told += checks.differences(before, checks.fence(place, place / "out", place / "logs"))
        found += [f"case {number}, {', '.join(hit)}, {', '.join(some)}: {text}" for text in told]
    return found


def use_out(folder: str, commands: Sequence[str], reference: str) -> list[str]:
    """Commands on an OUT, one after the other, each going as far as it gets.

    A run that goes to its end leaves an OUT that is whole; where rows and scores are as they were (`reference` is not
    empty), its ledger is the one that it always was.
    """
    from poolsieve.scoring_models.base.errors import PoolsieveError

    warnings.simplefilter("ignore")
    os.chdir(folder)
    found, out = [], f"{folder}/out"
    for command in commands:
        try:
            COMMANDS[command](folder, out)
        except (PoolsieveError, OSError):
            continue
        except Exception as error:  # noqa: BLE001
            found.append(f"{command}: {_brief(error)}")
            continue
        if command == "run":
            place = Path(out)
            found += [*checks.visible(place), *checks.adds_up(place)]
            if reference and fingerprint(out) != reference:
                found.append("run: another ledger than before the damage")
    return found


def _open(folder: str, out: str) -> None:
    found = api.open(out)
    assert found.summary and found.counts and found.cuts is not None and found.ledger().num_rows >= 0
    assert repr(found) and found._repr_html_()


def _run(folder: str, out: str) -> None:
    api.run(f"{folder}/recipe.py", out, params={"folder": folder})


def _cuts(folder: str, out: str) -> None:
    decision = api.open(out).decision
    api.decide(f"{folder}/recipe.py", out, params={"folder": folder}, cuts=f"{out}/decisions/{decision}/cuts.json")


COMMANDS: dict[str, Callable[[str, str], object]] = {
    "open": _open,
    "run": _run,
    "report": lambda folder, out: api.report(out),
    "prune": lambda folder, out: api.open(out).remove_older(),
    "export": lambda folder, out: [api.export(out, replace=True), api.export(out, to=f"{out}/other", replace=True)],
    "plan": lambda folder, out: api.plan(f"{folder}/recipe.py", out, params={"folder": folder}),
    "decide": lambda folder, out: api.decide(f"{folder}/recipe.py", out, params={"folder": folder, "words": 5}),
    "what_if": lambda folder, out: api.decide(None, out, what_if=True, params={"fraction": "0.1"}),
    "cuts": _cuts,
}


def run_to_the_end(folder: str, reference: str) -> list[str]:
    """After whatever went on: a run, its checks, an export of what it kept, and nothing half-written after `prune`."""
    warnings.simplefilter("ignore")
    out = f"{folder}/out"
    _run(folder, out)
    found = [*checks.visible(Path(out)), *checks.adds_up(Path(out)), *checks.subset(Path(out))]
    if fingerprint(out) != reference:
        found.append("another ledger than one run alone comes to")
    api.export(out, replace=True)
    found += checks.exported(Path(out), Path(out, "export"))
    api.open(out).remove_older()
    left = [str(path) for path in Path(out).rglob(".poolsieve-tmp-*")]
    return found + [f"left by a killed command: {path}" for path in left]
