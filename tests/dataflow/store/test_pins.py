"""`OUT/hub.json`: a run reads the Hub at the commits that the first one in OUT kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import poolsieve
from poolsieve import Pool
from poolsieve.dataflow.passes.plan import Plan, prepare, settled
from poolsieve.dataflow.passes.submit import carry_out
from poolsieve.dataflow.store.pins import keep, kept
from poolsieve.filters import Keep, col, dsir
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests import forked
from tests.hub_pool import FIRST, REPO, RULE, SECOND, filled, options, parquet, pool, python
from tests.hub_server import HubServer


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def pins(out: Path) -> dict[str, str]:
    return {one["url"]: one["commit"] for one in json.loads((out / "hub.json").read_bytes())["pins"]}


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not what():
        assert process.poll() is None and time.monotonic() < end, process.communicate()[1]
        time.sleep(0.01)


SLOW = f"""
import os, time
import pyarrow as pa
from poolsieve import Pool
from poolsieve.filters import Keep, Score, col, scorer

def slow(texts):
    end = time.monotonic() + 60
    while not os.path.exists("GATE") and time.monotonic() < end:
        time.sleep(0.02)
    return {{"x": pa.array([float(len(text)) for text in texts.to_pylist()], pa.float32())}}

recipe = (
    Pool.hub("{REPO}", revision="v1", text="text")
    | Score(s=scorer(slow, reads=("text",), columns={{"x": "float32"}}))
    | Keep(col("s") >= 10, reason="s.low")
)
"""


def test_a_killed_run_goes_on_at_its_commit_though_the_branch_moved_or_is_gone(
    hub: HubServer, tmp_path: Path, out: Path
) -> None:
    repo, recipe, gate = filled(hub), tmp_path / "r.py", tmp_path / "gate"
    first = repo.refs["v1"] = repo.head()
    recipe.write_text(SLOW.replace("GATE", str(gate)))
    command = [sys.executable, "-m", "poolsieve.jobs.cli", "run", str(recipe), "--out", str(out)]
    env = hub.environment(tmp_path / "home")
    for moved in (True, False):
        process = forked.Popen(command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)
        wait_for((out / "hub.json").exists, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        assert pins(out) == {f"hf://datasets/{REPO}@v1": first}
        assert not (out / "manifest.json").exists() and not list(out.glob("scores/*/*.parquet"))
        if moved:
            repo.change({SECOND: parquet(9, rows=33)}, rev="v1")
        else:
            del repo.refs["v1"]
    gate.touch()
    done = forked.run(command, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    found = poolsieve.open(out)
    assert found.counts.rows_in == 40 and all(f"@{first}/" in url for url in found.manifest.pool.urls)


def test_of_two_that_begin_at_once_one_says_which_commit(hub: HubServer, out: Path) -> None:
    repo, recipe, plans = filled(hub), pool(hub) | RULE, []

    def planned() -> Plan:
        plans.append(prepare(recipe, str(out)))
        if len(plans) == 1:  # another run begins a moment later, and is the first to keep its commit
            repo.change({SECOND: parquet(9)})
            poolsieve.run(recipe, out)
        return plans[-1]

    plan = settled(planned)
    assert len(plans) == 2 and plans[0].job.pins != plan.job.pins == kept(str(out))
    assert f"@{repo.head()}/" in plan.job.pool.urls[0]
    assert carry_out(plan).decision == poolsieve.open(out).decision


def test_a_plan_reads_them_and_leaves_out_as_it_is(hub: HubServer, out: Path) -> None:
    repo, recipe = filled(hub), pool(hub) | RULE
    first = repo.head()
    poolsieve.plan(recipe, out)
    assert not out.exists()
    poolsieve.run(recipe, out)
    repo.change({SECOND: parquet(9)})
    before = (out / "hub.json").read_bytes()
    planned = poolsieve.plan(recipe, out)
    assert f"@{first}/" in planned.pool.urls[0] and any("--newest" in text for text in planned.warnings)
    newest = poolsieve.plan(recipe, out, newest=True)
    assert f"@{repo.head()}/" in newest.pool.urls[0] and not any("--newest" in text for text in newest.warnings)
    assert (out / "hub.json").read_bytes() == before


def test_a_refused_plan_keeps_nothing(hub: HubServer, out: Path) -> None:
    filled(hub)
    with pytest.raises(PlanError, match="no score made before it"):
        poolsieve.run(pool(hub) | Keep(col("nothing") >= 3, reason="a.b"), out)
    assert not out.exists()


def test_newest_stays_the_newest_and_prune_keeps_the_file(hub: HubServer, out: Path) -> None:
    repo, recipe = filled(hub), pool(hub) | RULE
    poolsieve.run(recipe, out)
    second = repo.change({SECOND: parquet(9)}).oid
    poolsieve.run(recipe, out, newest=True)
    repo.change({SECOND: parquet(10)})
    with pytest.warns(UserWarning, match="has moved on"):
        again = poolsieve.run(pool(hub, revision="main") | RULE, out)  # what no revision means
    assert f"@{second}/" in again.manifest.pool.urls[0]
    again.remove_older()
    assert list(pins(out).values()) == [second]


BAD = {
    "empty": b"",
    "cut": b'{"format": 1, "pins": [{"url": "hf://data',
    "no commit": json.dumps({"format": 1, "pins": [{"url": f"hf://datasets/{REPO}@main", "commit": "main"}]}).encode(),
    "a file": json.dumps({"format": 1, "pins": [{"url": f"hf://datasets/{REPO}@v/x", "commit": "a" * 40}]}).encode(),
    "elsewhere": json.dumps({"format": 1, "pins": [{"url": "s3://bucket/key", "commit": "a" * 40}]}).encode(),
    "a list": b"[]",
    "no text": b"\xff\xfe",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_a_damaged_file_is_said_and_newest_writes_it_anew(hub: HubServer, out: Path, data: bytes) -> None:
    repo, recipe = filled(hub), pool(hub) | RULE
    out.mkdir()
    (out / "hub.json").write_bytes(data)
    with pytest.raises(PoolsieveError, match=r"out/hub.json is damaged .*: add --newest") as caught:
        poolsieve.run(recipe, out)
    assert "\n" not in str(caught.value)
    poolsieve.run(recipe, out, newest=True)
    assert list(pins(out).values()) == [repo.head()]


def test_a_newer_versions_file_is_left_alone(hub: HubServer, out: Path) -> None:
    filled(hub)
    out.mkdir()
    (out / "hub.json").write_bytes(b'{"format": 2, "pins": []}')
    for newest in (False, True):
        with pytest.raises(PoolsieveError, match="has format 2"):
            poolsieve.run(pool(hub) | RULE, out, newest=newest)


def test_those_of_another_pool_stay_beside(hub: HubServer, out: Path) -> None:
    repo = filled(hub)
    other = hub.create("org/other", {FIRST: parquet(5, rows=9)})
    poolsieve.run(pool(hub) | RULE, out)
    with pytest.raises(PlanError, match="--replace-pool"):
        poolsieve.run(pool(hub, "org/other") | Keep(col("text").word_count() >= 1, reason="a.b"), out)
    assert list(pins(out)) == [f"hf://datasets/{REPO}@main"]
    poolsieve.run(pool(hub, "org/other") | RULE, out, replace_pool=True)
    assert pins(out) == {f"hf://datasets/{REPO}@main": repo.head(), "hf://datasets/org/other@main": other.head()}


def test_a_commit_that_is_gone(hub: HubServer, out: Path) -> None:
    repo, recipe = filled(hub), pool(hub) | RULE
    poolsieve.run(recipe, out)
    hub.repos.pop(REPO)
    again = filled(hub)  # the repository was removed, and made anew
    with pytest.raises(PlanError, match=rf"out/hub.json says that .*@main was commit {repo.head()}.*--newest"):
        poolsieve.run(recipe, out)
    poolsieve.run(recipe, out, newest=True)
    assert list(pins(out).values()) == [again.head()]


def test_a_repository_that_was_renamed_is_found_by_its_old_name(hub: HubServer, out: Path) -> None:
    first, recipe = filled(hub).head(), pool(hub) | RULE
    poolsieve.run(recipe, out)
    hub.repos["org/new"] = hub.repos.pop(REPO)
    hub.renamed[REPO] = "org/new"
    more = pool(hub) | Keep(col("text").char_count() >= 9, reason="text.short")
    found = poolsieve.run(more, out)
    assert f"{REPO}@{first}/" in found.manifest.pool.urls[0] and found.counts.rows_in == 40


RUN = f"""
import sys
import poolsieve
from poolsieve import Pool
from poolsieve.filters import Keep, col
from poolsieve.scoring_models.base.errors import PlanError
recipe = Pool.hub({REPO!r}, text="text") | Keep(col("text").word_count() >= WORDS, reason="text.short")
try:
    poolsieve.VERB(recipe, "OUT")
except PlanError as error:
    sys.exit(f"refused: {{error}}")
"""


def test_offline_a_run_is_refused_in_words_and_decide_goes_on(hub: HubServer, tmp_path: Path, out: Path) -> None:
    filled(hub)

    def called(words: int, verb: str, **more: str) -> subprocess.CompletedProcess[str]:
        code = RUN.replace("WORDS", str(words)).replace("VERB", verb).replace("OUT", str(out))
        return python(code, hub, tmp_path, **more)

    done = called(3, "run")
    assert done.returncode == 0, done.stderr
    hub.forget()
    refused = called(3, "run", HF_HUB_OFFLINE="1")
    (said,) = [line for line in refused.stderr.splitlines() if line.startswith("refused: ")]
    assert "HF_HUB_OFFLINE is set" in said and "unset it, or name a local copy" in said
    decided = called(5, "decide", HF_HUB_OFFLINE="1")
    assert decided.returncode == 0, decided.stderr
    assert hub.requests == []


def test_pools_inside_scorers_are_read_at_the_commits_that_the_manifest_names(hub: HubServer, out: Path) -> None:
    raw, target = filled(hub), hub.create("org/target", {FIRST: parquet(7)})
    pools = {"raw": pool(hub), "target": pool(hub, "org/target")}
    recipe, first = pools["raw"] | dsir(**pools, min_words=1), target.head()
    plan = settled(lambda: prepare(recipe, str(out)))
    target.change({FIRST: parquet(8)})
    hub.forget()
    found = carry_out(plan)  # counts the pools only now
    assert not hub.count("", target.head()) and hub.count("", f"org/target/.*{first}")
    assert found.manifest.pools == {
        "dsir": {
            "raw": [f"hf://datasets/{REPO}@{raw.head()}/{one}" for one in _patterns(pools["raw"])],
            "target": [f"hf://datasets/org/target@{first}/{one}" for one in _patterns(pools["target"])],
        }
    }
    assert pins(out) == {f"hf://datasets/{REPO}@main": raw.head(), "hf://datasets/org/target@main": first}
    with pytest.warns(UserWarning, match="org/target@main has moved on"):
        assert poolsieve.run(recipe, out).summary.work.scored == {}
    assert poolsieve.decide(recipe, out).manifest.pools == found.manifest.pools
    again = poolsieve.run(recipe, out, newest=True)
    assert again.manifest.pools["dsir"]["target"][0].startswith(f"hf://datasets/org/target@{target.head()}/")


def _patterns(made: Pool) -> list[str]:
    return [url.split("@", 1)[1].split("/", 1)[1] for url in made.pinned().urls]


def test_two_hubs_in_one_recipe_have_their_own_commits(hub: HubServer, out: Path) -> None:
    with HubServer() as second:
        heads = [filled(hub).head(), filled(second).head()]
        both = Pool.union(a=pool(hub), b=pool(hub, storage_options=options(second)))
        found = poolsieve.run(both | RULE, out)
    parts = found.manifest.pool.parts
    assert [f"@{head}/" in parts[name].urls[0] for name, head in zip("ab", heads, strict=True)] == [True, True]
    assert len(kept(str(out))) == 2


def test_commits_are_kept_once_and_not_over_others(out: Path) -> None:
    from poolsieve.dataflow.pools.hub_commits import Revision

    one, two = Revision("hf://datasets/a/b@main"), Revision("hf://c/d@v1", "http://hub")
    assert keep(str(out), {}) and not out.exists()
    assert keep(str(out), {one: "a" * 40}) and keep(str(out), {two: "b" * 40})
    assert not keep(str(out), {one: "c" * 40})
    assert kept(str(out)) == {one: "a" * 40, two: "b" * 40}
    assert keep(str(out), {one: "c" * 40}, newest=True)
    assert kept(str(out)) == {one: "c" * 40, two: "b" * 40} and not (out / "leases").exists()
