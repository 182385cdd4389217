"""Pools on the Hub: the real clients read them from a loopback one, at the commit that a revision was."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

import poolsieve
from poolsieve import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.passes.submit import carry_out
from poolsieve.dataflow.pools.hub_commits import Pins, pin
from poolsieve.dataflow.recipes.yaml import recipe_from_yaml
from poolsieve.filters import Keep, col
from poolsieve.jobs.items import PLAIN
from poolsieve.jobs.items import prepare as prepare_items
from poolsieve.jobs.train.color.chunks import listed
from poolsieve.jobs.train.fasttext import _of_pool
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.hub_pool import FIRST, REPO, RULE, SECOND, TEST, filled, options, parquet, pool, python
from tests.hub_server import Fault, HubServer


def paths(made: Pool) -> list[str]:
    files = made.located()
    return [files.url(shard) for shard in files.listing().shards]


def test_a_split_by_its_files_names_at_the_commit_that_main_is(hub: HubServer) -> None:
    sha = filled(hub).head()
    made = pool(hub).pinned()
    assert made.kind == "parquet"
    assert all(url.startswith(f"hf://datasets/{REPO}@{sha}/data/train-") for url in made.urls)
    assert paths(made) == [f"hf://datasets/{REPO}@{sha}/{name}" for name in (FIRST, SECOND)]
    assert paths(pool(hub, split="test")) == [f"hf://datasets/{REPO}@{sha}/{TEST}"]


CARD = b"""---
configs:
- config_name: en
  default: true
  data_files:
  - split: train
    path: en/part-*
- config_name: de
  data_files:
  - split: train
    path: [de/a.jsonl, de/b.jsonl]
---
"""


def test_a_split_by_the_cards_configs(hub: HubServer) -> None:
    lines = b'{"text": "one"}\n'
    files = {"en/part-0.parquet": parquet(0), "en/other.parquet": parquet(1), "en/part-1.csv": b"a\n"}
    repo = hub.create(REPO, {**files, "de/a.jsonl": lines, "de/b.jsonl": lines, "README.md": CARD})
    base = f"hf://datasets/{REPO}@{repo.head()}"
    assert pool(hub).pinned().urls == (f"{base}/en/part-0.parquet",)  # what is no Parquet stays out
    german = pool(hub, name="de").pinned()
    assert (german.kind, german.urls) == ("jsonl", (f"{base}/de/a.jsonl", f"{base}/de/b.jsonl"))
    with pytest.raises(PlanError, match=r"no configuration 'ed'.*'?en"):
        pool(hub, name="ed").pinned()
    with pytest.raises(PlanError, match=r"no split 'tain'.*train"):
        pool(hub, split="tain").pinned()


def test_tars_and_compressed_lines(hub: HubServer) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        info = tarfile.TarInfo("0.txt")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"hello"))
    hub.create("org/tars", {"data/train-0000.tar": sink.getvalue()})
    assert pool(hub, "org/tars", text="txt").pinned().kind == "webdataset"
    hub.create("org/lines", {"train.jsonl.zst": pa.compress(b'{"text": "a"}\n', "zstd", asbytes=True)})
    made = pool(hub, "org/lines").pinned()
    assert made.kind == "jsonl" and len(paths(made)) == 1


def test_branches_whose_names_have_slashes(hub: HubServer) -> None:
    repo = filled(hub)
    made = repo.change({FIRST: parquet(5)}, rev="main")
    repo.refs["refs/convert/parquet"] = repo.refs["some/branch"] = made.oid
    repo.change({FIRST: parquet(6)})
    for revision in ("refs/convert/parquet", "some/branch"):
        assert f"@{made.oid}/" in pool(hub, revision=revision).pinned().urls[0]
    for text in ("refs/convert/parquet", "refs%2Fconvert%2Fparquet", "some%2Fbranch"):
        url = f"hf://datasets/{REPO}@{text}/data/train-*.parquet"
        assert pin([url], options(hub), Pins()) == (f"hf://datasets/{REPO}@{made.oid}/data/train-*.parquet",)


def test_a_run_keeps_its_commit_and_a_later_one_scores_what_changed(hub: HubServer, tmp_path: Path) -> None:
    repo = filled(hub)
    first, recipe = repo.head(), pool(hub) | RULE
    out = poolsieve.run(recipe, tmp_path / "out")
    assert out.manifest.pool.kind == "parquet" and f"@{first}/" in out.manifest.pool.urls[0]
    stored = _score_files(tmp_path)
    repo.change({SECOND: parquet(9)})
    hub.forget()
    out.decide(pool(hub) | Keep(col("text").word_count() >= 5, reason="text.short"))
    assert f"@{first}/" in out.manifest.pool.urls[0]
    # The report's samples are read at that commit; nothing asks for a revision that may move.
    assert all(f"/{first}" in one.path for one in hub.requests)
    with pytest.warns(
        UserWarning, match=f"main has moved on: .* was commit {first[:12]}.* {repo.head()[:12]} now.*--newest"
    ):
        same = poolsieve.run(recipe, tmp_path / "out")
    assert f"@{first}/" in same.manifest.pool.urls[0]
    again = poolsieve.run(recipe, tmp_path / "out", newest=True)
    assert f"@{repo.head()}/" in again.manifest.pool.urls[0]
    assert len(_score_files(tmp_path) - stored) == 1 and stored <= _score_files(tmp_path)


def _score_files(tmp_path: Path) -> set[Path]:
    return set((tmp_path / "out" / "scores").glob("*/*.parquet"))


def test_urls_are_pinned_and_a_revision_is_asked_for_once(hub: HubServer, tmp_path: Path) -> None:
    sha = filled(hub).head()
    urls = [f"hf://datasets/{REPO}/{name}" for name in (FIRST, SECOND)]
    made = Pool.parquet(*urls, text="text", storage_options=options(hub))
    assert made.pinned().urls == tuple(f"hf://datasets/{REPO}@{sha}/{name}" for name in (FIRST, SECOND))
    assert hub.count("GET", f"^/api/datasets/{REPO}") == 1
    hub.forget()
    assert made.pinned().pinned().urls and hub.count() == 1
    out = poolsieve.run(made | RULE, tmp_path / "out")
    assert out.manifest.pool.urls == made.pinned().urls


def test_a_large_files_tag_is_its_hash(hub: HubServer) -> None:
    repo = filled(hub)
    shard = pool(hub).located().listing().shards[0]
    from tests.hub_store import sha256

    assert shard.tag == sha256(repo.files()[FIRST])


def test_a_union_and_yaml(hub: HubServer) -> None:
    sha = filled(hub).head()
    both = Pool.union(a=pool(hub), b=pool(hub, split="test")).pinned()
    assert [part.kind for part in both.parts.values()] == ["parquet", "parquet"]
    text = f"pool: {{hub: {REPO}, split: test, revision: main, text: text}}\nstages: []\n"
    read = recipe_from_yaml(text, "r.yaml", {}).pool
    assert read == pool(hub, split="test", revision="main")
    assert read.with_options(options(hub)).pinned().urls[0].startswith(f"hf://datasets/{REPO}@{sha}/data/test-")


def test_what_is_not_there_is_named_with_what_is(hub: HubServer) -> None:
    filled(hub)
    hub.create("org/secret", {FIRST: parquet(0)}, private=True)
    with pytest.raises(PlanError, match=r"has no revision 'mian'.*main"):
        pool(hub, revision="mian").pinned()
    with pytest.raises(PlanError, match=r"no dataset org/pol at .*org/pool"):
        pool(hub, "org/pol").pinned()
    with pytest.raises(PlanError, match="your token may not see it"):
        pool(hub, "org/secret", storage_options=options(hub, False)).pinned()
    hub.repos[REPO].gated = True
    with pytest.raises(PlanError, match=f"{REPO} is gated: ask for access at {hub.url}/datasets/{REPO}"):
        pool(hub, storage_options=options(hub, "hf_other")).pinned()
    with pytest.raises(PlanError, match="expected the name of a dataset"):
        Pool.hub("one")


def test_no_hub(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from poolsieve.dataflow import retries

    monkeypatch.setattr(retries, "AWAY_SECONDS", 0.1)
    made = pool(hub)
    hub.stop()
    with pytest.raises(PlanError, match="can't be reached"):
        made.pinned()


def test_offline_is_said_at_once(hub: HubServer, tmp_path: Path) -> None:
    filled(hub)
    told = python(
        f"from poolsieve import Pool\nPool.hub({REPO!r}, text='text').pinned()", hub, tmp_path, HF_HUB_OFFLINE="1"
    )
    assert "HF_HUB_OFFLINE is set" in told.stderr
    assert hub.requests == []


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_hub_is_asked_again(hub: HubServer, tmp_path: Path, status: int) -> None:
    filled(hub)
    wait = {"Retry-After": "1"}
    hub.faults += [
        Fault("GET", pattern, status, wait) for pattern in ("^/api/datasets/org/pool$", "/tree/", f"/resolve/.*{FIRST}")
    ]
    out = poolsieve.run(pool(hub) | RULE, tmp_path / "out")
    assert out.manifest.rows.rows_in == 40
    assert [fault.times for fault in hub.faults] == [0, 0, 0]


def test_a_snapshot_in_the_local_cache(hub: HubServer, tmp_path: Path) -> None:
    filled(hub)
    code = f"from huggingface_hub import snapshot_download as get\nprint(get({REPO!r}, repo_type='dataset'))"
    told = python(code, hub, tmp_path, HF_HUB_DISABLE_XET="1")
    folder = told.stdout.strip()
    assert (Path(folder) / FIRST).is_symlink()
    out = poolsieve.run(Pool.parquet(f"{folder}/data/train-*.parquet", text="text") | RULE, tmp_path / "out")
    assert out.manifest.rows.rows_in == 40
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["pool"]["root"].startswith(folder)


def test_a_tag_is_pinned_and_named_where_it_is_spelled_wrong(hub: HubServer) -> None:
    repo = filled(hub)
    first = repo.tags["v1.0"] = repo.head()
    repo.change({FIRST: parquet(5)})
    for made in (pool(hub, revision="v1.0"), url_pool(hub, "@v1.0", "data/train-*.parquet")):
        assert all(f"@{first}/" in url for url in made.pinned().urls)
    with pytest.raises(PlanError, match=r"has no revision 'v1.O'.*v1\.0"):
        pool(hub, revision="v1.O").pinned()


def url_pool(hub: HubServer, revision: str, *names: str, token: str = "hf_read") -> Pool:
    urls = (f"hf://datasets/{REPO}{revision}/{name}" for name in names)
    return Pool.parquet(*urls, text="text", storage_options=options(hub, token))


def test_a_branch_that_is_deleted_while_its_pool_is_read(hub: HubServer, tmp_path: Path) -> None:
    repo = filled(hub)
    repo.refs["side"] = repo.head()
    plan = prepare(pool(hub, revision="side") | RULE, str(tmp_path / "out"))
    del repo.refs["side"]
    assert carry_out(plan).counts.rows_in == 40
    with pytest.raises(PlanError, match=r"has no revision 'side'.*main"):
        poolsieve.run(pool(hub, revision="side") | RULE, tmp_path / "other")


@pytest.mark.parametrize("name", ["data/train-*.parquet", FIRST])
def test_a_commit_in_a_url_that_can_not_be_read(hub: HubServer, name: str) -> None:
    repo = filled(hub)
    with pytest.raises(PlanError, match=r"has no revision 'b{40}'\. There is main"):
        url_pool(hub, f"@{'b' * 40}", name).located().listing()
    made = url_pool(hub, f"@{repo.head()}", name, token="hf_other")
    repo.gated = True
    with pytest.raises(
        PlanError, match=f"{REPO} is gated: ask for access at {hub.url}/datasets/{REPO}, and set HF_TOKEN"
    ):
        made.located().listing()
    repo.gated, repo.private = False, True
    with pytest.raises(PlanError, match=f"no dataset {REPO} at {hub.url}, or your token may not see it"):
        made.located().listing()


def test_a_repository_that_is_gated_while_it_is_read(hub: HubServer, tmp_path: Path) -> None:
    repo = filled(hub)
    plan = prepare(pool(hub, storage_options=options(hub, "hf_other")) | RULE, str(tmp_path / "out"))
    repo.gated = True
    with pytest.raises(PoolsieveError, match="Cannot access gated repo") as caught:
        carry_out(plan)
    assert "\n" not in str(caught.value) and not (tmp_path / "out" / "manifest.json").exists()
    repo.gated = False
    assert poolsieve.run(pool(hub) | RULE, tmp_path / "out").counts.rows_in == 40


def test_names_in_out_are_the_same_however_the_split_is_spelled(hub: HubServer) -> None:
    repo = filled(hub)
    made = [
        pool(hub),
        url_pool(hub, "", "data/train-*.parquet"),
        url_pool(hub, "", FIRST, SECOND),
        url_pool(hub, "@main", "data/{train-00000-of-00002,train-00001-of-00002}.parquet"),
        url_pool(hub, f"@{repo.head()}", "**/train-*.parquet"),
    ]
    listings = [one.located().listing().shards for one in made]
    assert [shard.path for shard in listings[0]] == [FIRST, SECOND]
    assert all(one == listings[0] for one in listings)
    assert {one.located().root for one in made} == {f"hf://datasets/{REPO}@{repo.head()}"}
    (alone,) = url_pool(hub, "", FIRST).located().listing().shards
    assert alone == listings[0][0]
    repo.change({SECOND: parquet(9)})
    assert pool(hub).located().listing().shards[0] == alone  # and at every commit


def test_records_of_what_was_made_from_a_pool_name_its_commit(hub: HubServer, tmp_path: Path) -> None:
    sha = filled(hub).head()
    base = f"hf://datasets/{REPO}@{sha}/"
    asked = Pool.hub(REPO, storage_options=options(hub), question="text", answer="text")
    assert all(url.startswith(base) for url in prepare_items(asked, tmp_path / "items", PLAIN).pool.urls)
    assert all(url.startswith(base) for url in listed(pool(hub), "prior").about()["urls"])
    about = _of_pool(pool(hub), "hq").about
    assert about["kind"] == "parquet" and all(url.startswith(base) for url in about["urls"])
