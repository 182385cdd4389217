"""Runs in parts: the files of a run of one piece, whatever parts died, overlapped or came twice."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.parts.finish import PartsLacking
from poolsieve.dataflow.parts.numbers import share_of
from poolsieve.dataflow.parts.score import part_of, score
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.pools.formats.base import ShardChanged
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.filters import Keep, Score, Top, col, scorer
from poolsieve.filters.dsl.derive import Derive
from poolsieve.jobs.parts import PartDone
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import fingerprint_of, run, write_pool
from tests.dataflow.test_derived_values import LENGTH, Rank
from tests.dataflow.test_derived_values import Share as ShareOfSum
from tests.dataflow.test_invariants import moody


def doubled(text: pa.Array) -> pa.Array:
    return pc.multiply(pc.utf8_length(text), 2)


TWICE = scorer(doubled, reads=("text",), columns={"n": "int32"})


def pool_of(pool: Path) -> Recipe:
    return Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Keep(col("text").word_count() >= 2)


def one_reading(pool: Path) -> Recipe:
    """No cut, which costs Beam its time."""
    return pool_of(pool) | Score(length=LENGTH) | Keep(col("length") >= 40)


def two_readings(pool: Path) -> Recipe:
    return pool_of(pool) | Top("clip", fraction=0.5) | Score(length=LENGTH) | Keep(col("length") >= 40)


def of_pool(pool: Path) -> Recipe:
    """A cut whose scorer stands behind a rule, and is needed of every row all the same."""
    return pool_of(pool) | Score(length=LENGTH) | Top("length", fraction=0.2, of="pool", rank="pool")


def derived(pool: Path) -> Recipe:
    """Sums over the pool, then what one worker gathers of it, then another reading."""
    made = pool_of(pool) | Score(length=LENGTH) | Derive(share=ShareOfSum("length")) | Keep(col("share") > 0.0005)
    return made | Derive(rank=Rank("length")) | Keep(col("rank") < 300) | Score(twice=TWICE) | Keep(col("twice") >= 40)


def pool_in(folder: Path) -> Path:
    """Seven files, one of them empty."""
    return write_pool(folder, sizes=(120, 90, 150, 0, 40, 300, 60))


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return pool_in(tmp_path / "pool")


def files_of(out: Path) -> dict[str, Any]:
    """Every file of an OUT by its contents; of a summary and a report what is not about time and work."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        if path.name == "summary.json":
            plain = json.loads(path.read_bytes())
            found[name] = {key: value for key, value in plain.items() if key not in ("work", "wall_seconds", "files")}
        elif path.name in ("report.html", "report.json"):
            found[name] = "about time too"
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


Make = Callable[[Path], Recipe]


def parts(recipe: Recipe, out: Path, *names: str) -> list[PartDone]:
    return [poolsieve.run(recipe, out, part=name) for name in names]


def lacking(recipe: Recipe, out: Path) -> PartsLacking:
    """What `finish` says is still to be done."""
    with pytest.raises(PartsLacking) as caught:
        poolsieve.finish(recipe, out)
    return caught.value


def until_whole(recipe: Recipe, out: Path) -> list[PartsLacking]:
    """Finishes a run by doing what `finish` says; what it said."""
    said: list[PartsLacking] = []
    while len(said) < 9:
        try:
            poolsieve.finish(recipe, out)
        except PartsLacking as error:
            said.append(error)
        else:
            return said
        parts(recipe, out, str(said[-1].share))
    raise AssertionError(f"it goes on for ever: {said}")


def test_the_files_are_those_of_a_run_of_one_piece(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Parts overlap, come twice, out of order, and are of other numbers; then the cuts are given."""
    folder = tmp_path_factory.mktemp("parts")
    recipe, out = two_readings(pool_in(folder / "pool")), folder / "parts"
    one = poolsieve.run(recipe, folder / "one")
    parts(recipe, out, "1/2", "0/2", "1/2")
    with pytest.warns(UserWarning, match="other parts of this run are of 2"):
        parts(recipe, out, "3/5")
    error = lacking(recipe, out)
    assert re.search(r"6 of 7 shards lack scores of pass 2 of 2 \(\d+ rows\): run the array again: ", str(error))
    assert "part='I/2') for each I from 0 to 1" in str(error)
    done = parts(recipe, out, "0/2", "4/5", "1/2", "0-1/2")
    assert [one.pass_number for one in done] == [2, 2, 2, 2] and done[3].work.scored == {}
    poolsieve.finish(recipe, out)
    assert files_of(out) == files_of(folder / "one")
    cuts = folder / "one" / "decisions" / one.decision / "cuts.json"
    given = [poolsieve.run(recipe, folder / "given", part=f"{i}/2", cuts=cuts) for i in range(2)]
    assert [(one.pass_number, one.passes) for one in given] == [(1, 1), (1, 1)]
    assert poolsieve.finish(recipe, folder / "given", cuts=cuts).decision == one.decision
    assert fingerprint_of(folder / "given") == fingerprint_of(folder / "one")


@pytest.mark.parametrize(("make", "passes"), [(of_pool, 1), (derived, 2)])
def test_what_sees_the_whole_pool_sees_it(pool: Path, tmp_path: Path, make: Make, passes: int) -> None:
    poolsieve.run(make(pool), tmp_path / "one")
    parts(make(pool), tmp_path / "parts", "0/2", "1/2")
    said = until_whole(make(pool), tmp_path / "parts")
    assert [(error.pass_number, error.passes) for error in said] == [(i, passes) for i in range(2, passes + 1)]
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "one")


def test_more_parts_than_shards(pool: Path, tmp_path: Path) -> None:
    done = parts(one_reading(pool), tmp_path / "parts", *(f"{i}/12" for i in range(12)))
    assert sorted(one.shards for one in done) == [0] * 5 + [1] * 7
    summary = poolsieve.finish(one_reading(pool), tmp_path / "parts").summary
    assert summary.rows == 760 and summary.wall_seconds is None
    scored = [one.work.scored.get("length", 0) for one in done]
    assert summary.work.scored["length"] == sum(scored) > 0
    assert not (tmp_path / "parts" / "parts").exists()


def test_a_part_that_is_missing_is_named_with_what_to_run(pool: Path, tmp_path: Path, recipe_file: Any) -> None:
    out = tmp_path / "parts"
    source = recipe_file(
        "from poolsieve.dataflow import Pool\nfrom poolsieve.filters import Keep, col\n"
        f"def recipe(least=0.5):\n    return Pool.parquet('{pool}/*.parquet') | Keep(col('clip') > least)\n",
        least="0.25",
    )
    for name in ("0/5", "2-3/5"):
        poolsieve.run(source, out, part=name)
    error = lacking(source, out)
    assert (str(error.share), error.pass_number, error.passes, error.status) == ("1,4/5", 1, 1, 3)
    command = f"`poolsieve run {source.path} -p least=0.25 --out {out} --part 1,4/5`"
    assert re.search(r"^3 of 7 shards lack scores of pass 1 of 1 \(3 were never read\): run ", str(error))
    assert str(error).endswith(command)
    assert not (out / "manifest.json").exists()
    poolsieve.run(source, out, part="1,4/5")
    assert poolsieve.finish(source, out).counts.rows_in == 760


def test_a_part_is_of_one_process_and_no_cluster_is_asked(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="--runner spark shares the shards out by itself: leave one of them out"):
        poolsieve.run(one_reading(pool), tmp_path / "parts", part="0/2", runner="spark")


def test_before_any_part_the_command_is_a_run(pool: Path, tmp_path: Path) -> None:
    error = lacking(one_reading(pool), tmp_path / "out")
    assert error.share is None and "7 of 7 shards" in str(error)
    assert str(error).endswith(f"run poolsieve.run(recipe, '{tmp_path}/out')")


def test_a_part_that_failed_is_told_with_its_error(pool: Path, tmp_path: Path) -> None:
    out, share = str(tmp_path / "parts"), share_of("1/2", {})
    parts(one_reading(pool), tmp_path / "parts", "0/2")
    part = part_of(prepare(one_reading(pool), out), share)
    changed = pool / part.plan.shards[0].path
    before, then = changed.read_bytes(), changed.stat()
    changed.write_bytes(before + b"x")
    with pytest.raises(ShardChanged):
        score(part)
    changed.write_bytes(before)
    os.utime(changed, ns=(then.st_atime_ns, then.st_mtime_ns))  # else it would be another pool
    assert re.search(rf"part 1: .*{changed.name}", str(lacking(one_reading(pool), tmp_path / "parts")))


def test_a_pool_that_grew_between_tasks_has_its_new_files_scored(pool: Path, tmp_path: Path) -> None:
    recipe, out = one_reading(pool), tmp_path / "parts"
    parts(recipe, out, "0/2")
    for i, path in enumerate(sorted(write_pool(tmp_path / "more", sizes=(30, 20), seed=7).iterdir())):
        path.rename(pool / f"zz-{i}.parquet")
    with pytest.warns(UserWarning, match="another listing of the pool"):
        parts(recipe, out, "1/2")
    said = until_whole(recipe, out)
    assert len(said) <= 1 and not any("pass 2" in str(error) for error in said)
    poolsieve.run(recipe, tmp_path / "one")
    assert fingerprint_of(out) == fingerprint_of(tmp_path / "one")


def test_a_task_with_another_version_of_the_recipe_is_made_up_for(pool: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "parts", pool_of(pool) | Score(twice=TWICE) | Keep(col("twice") >= 9)
    parts(one_reading(pool), out, "0/3", "1/3")
    with pytest.warns(UserWarning, match="another recipe"):
        parts(other, out, "2/3")
    error = lacking(one_reading(pool), out)
    assert str(error.share) == "2/3" and error.__cause__ is not None
    parts(one_reading(pool), out, "2/3")
    poolsieve.run(one_reading(pool), tmp_path / "one")
    poolsieve.finish(one_reading(pool), out)
    assert fingerprint_of(out) == fingerprint_of(tmp_path / "one")


def test_failures_that_are_tried_again_move_the_cut(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fussy = scorer(moody, reads=("text",), columns={"n": "float32"})
    recipe, out = pool_of(pool) | Score(m=fussy) | Top("m", fraction=0.5) | Score(length=LENGTH), tmp_path / "parts"
    monkeypatch.setenv("POOLSIEVE_TEST_MOOD", "bad")
    parts(recipe, out, "0/2", "1/2")
    assert lacking(recipe, out).pass_number == 2
    monkeypatch.delenv("POOLSIEVE_TEST_MOOD")
    for name in ("0/2", "1/2"):
        poolsieve.run(recipe, out, part=name, retry_quarantined=True)
    assert len(until_whole(recipe, out)) == 1, "rows that the moved cut lets through"
    run(recipe, tmp_path / "one")
    assert fingerprint_of(out) == fingerprint_of(tmp_path / "one")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_error_rate": 0.1}, "--max-error-rate is for `poolsieve finish`"),
        ({"truth": "t.parquet"}, "--truth is for"),
        ({"samples": False}, "--no-samples is for"),
        ({"part": "2/2"}, "the last of 2 is 1/2"),
        ({"part": "slurm"}, "no task of a job array"),
    ],
)
def test_what_a_part_can_not_do_is_refused_before_work(
    pool: Path, tmp_path: Path, options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    with pytest.raises(PlanError, match=said):
        poolsieve.run(one_reading(pool), tmp_path / "out", **{"part": "0/2", **options})
    assert not (tmp_path / "out").exists()


def test_a_pool_in_the_place_of_anothers_is_refused(pool: Path, tmp_path: Path) -> None:
    other = write_pool(tmp_path / "other", sizes=(50,), seed=3)
    poolsieve.run(one_reading(other), tmp_path / "out")
    with pytest.raises(PlanError, match="--replace-pool"):
        parts(one_reading(pool), tmp_path / "out", "0/1")
    poolsieve.run(one_reading(pool), tmp_path / "out", part="0/1", replace_pool=True)
    assert poolsieve.finish(one_reading(pool), tmp_path / "out", replace_pool=True).counts.rows_in == 760


def test_a_damaged_note_is_named_and_prune_takes_what_parts_left(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = poolsieve.run(pool_of(pool), out)
    parts(one_reading(pool), out, "0/2")
    lacking(one_reading(pool), out)
    (note,) = out.glob("parts/*/lacking.json")
    note.write_text("{")
    with pytest.raises(PoolsieveError, match=r"lacking.json is damaged: remove it"):
        parts(one_reading(pool), out, "0/1")
    assert f"parts/{note.parent.name}" in whole.remove_older() and not note.parent.exists()


def test_the_recipe_that_parts_left_is_run_if_its_file_says_the_same(pool: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "out", tmp_path / "recipe.py"
    text = "from poolsieve.dataflow import Pool\nfrom poolsieve.filters import Keep, col\n"
    text += f"def recipe(least=0.1):\n    return Pool.parquet('{pool}/*.parquet') | Keep(col('clip') > least)\n"
    path.write_text(text)
    with pytest.raises(PlanError, match="no part has left its recipe"):
        poolsieve.finish(None, out)
    poolsieve.run(path, out, part="0/1")
    path.write_text(text + "# another\n")
    with pytest.raises(PlanError, match=r"is not run, since it may be anybody's: .* says something else"):
        poolsieve.finish(None, out)
    path.write_text(text)
    assert poolsieve.finish(None, out).counts.rows_in == 760
    poolsieve.run(path, out, part="0/1")
    poolsieve.run(path, out, part="0/9", params={"least": "0.2"}, say=lambda text: None)
    with pytest.raises(PlanError, match=r"had 2 recipes or parameters .*recipe.py\): name the one"):
        poolsieve.finish(None, out)
