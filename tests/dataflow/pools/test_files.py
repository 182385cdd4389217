"""Pools: what a recipe says about files, and what listing them finds."""

from __future__ import annotations

import json
import pickle
from hashlib import blake2b
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.pools import shards
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.dataflow.store import layout
from poolsieve.filters import Keep, col
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import derived_uid, ledger, run, write_pool


def touch(folder: Path, *names: str, data: bytes = b"x") -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_lines(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def paths(pool: Pool) -> list[str]:
    return [shard.path for shard in pool.located().listing().shards]


def test_a_pool_is_a_value(tmp_path: Path) -> None:
    one = Pool.parquet("a/*.parquet", uid="id", text="t", storage_options={"secret": "s3cr3t"})
    two = Pool.parquet("a/*.parquet", text="t", uid="id", image=None)
    assert one == two and hash(one) == hash(two) and one != Pool.parquet("b/*.parquet", uid="id", text="t")
    assert "s3cr3t" not in repr(one) + str(one.to_dict())
    assert pickle.loads(pickle.dumps(one)).storage_options == {"secret": "s3cr3t"}
    assert one.to_dict() == {
        "type": "Pool",
        "kind": "parquet",
        "urls": ["a/*.parquet"],
        "roles": {"uid": "id", "text": "t"},
    }


def test_absolute_means_the_same_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "data/a.parquet")
    monkeypatch.chdir(tmp_path)
    pool = Pool.parquet("./data/../data/*.parquet").absolute()
    assert pool.urls == (f"{tmp_path}/data/*.parquet",)
    monkeypatch.chdir("/")
    assert paths(pool) == ["a.parquet"]


@pytest.mark.parametrize(
    ("urls", "root"),
    [
        (["s3://b/pool/{00..99}.tar"], "s3://b/pool"),
        (["s3://b/pool/x-{a,b}/*.tar"], "s3://b/pool"),
        (["s3://b/p1/a.tar", "s3://b/p2/a.tar"], "s3://b"),
        (["/data/x/a.tar", "/data/y.tar"], "/data"),
        (["/data/xa/a.tar", "/data/xb/a.tar"], "/data"),
        (["/*.tar"], "/"),
        (["memory://*.tar"], "memory://"),
        (["https://h/d/a.tar?v=1"], "https://h/d"),
    ],
)
def test_root(urls: list[str], root: str) -> None:
    assert Pool.webdataset(*urls).located().root == root


@pytest.mark.parametrize("urls", [["s3://a/x.tar", "s3://b/x.tar"], ["s3://a/x.tar", "/a/x.tar"], ["s3://*/x.tar"]])
def test_no_common_root(urls: list[str]) -> None:
    with pytest.raises(PlanError, match="share no folder"):
        _ = Pool.webdataset(*urls).located().root


def test_globs_ranges_and_order(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "p/b/2.tar",
        "p/a/1.tar",
        "p/a/10.tar",
        "p/a/x.txt",
        "p/.poolsieve-tmp-9.tar",
        "p/a/.poolsieve-tmp-9.tar",
    )
    assert paths(Pool.webdataset(f"{tmp_path}/p/*/*.tar")) == ["a/1.tar", "a/10.tar", "b/2.tar"]
    assert paths(Pool.webdataset(f"{tmp_path}/p/{{a,b}}/[0-9].tar")) == ["a/1.tar", "b/2.tar"]
    assert paths(Pool.webdataset(f"{tmp_path}/p/a/1?.tar", f"{tmp_path}/p/a/*.tar")) == ["1.tar", "10.tar"]
    assert paths(Pool.webdataset(f"{tmp_path}/**/*.tar")) == ["p/a/1.tar", "p/a/10.tar", "p/b/2.tar"]


def test_sizes_and_tags_come_from_the_listing(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number:02}.tar" for number in range(20)), data=b"12345")
    few = Pool.webdataset(f"{tmp_path}/{{00..03}}.tar").located().listing()
    many = Pool.webdataset(f"{tmp_path}/{{00..19}}.tar").located().listing()
    globbed = Pool.webdataset(f"{tmp_path}/*.tar").located().listing()
    assert many == globbed and few.shards == many.shards[:4] and many.files == 20 and many.nbytes == 100
    assert all(shard.size == 5 and shard.tag for shard in many.shards)


@pytest.mark.parametrize("last", [3, 30])
def test_gaps_are_an_error_unless_allowed(tmp_path: Path, last: int) -> None:
    touch(tmp_path, *(f"{number:02}.tar" for number in range(last + 1) if number != 2))
    url = f"{tmp_path}/{{00..{last:02}}}.tar"
    with pytest.raises(PlanError, match=rf"1 of the {last + 1} names .* {tmp_path}/02.tar.* allow_gaps"):
        Pool.webdataset(url).located().listing()
    listing = Pool.webdataset(url, allow_gaps=True).located().listing()
    assert listing.gaps == (f"{tmp_path}/02.tar",) and len(listing.shards) == last


def test_an_empty_pool_names_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "data/train-0.parquet", "data/train-1.parquet")
    with pytest.raises(PlanError, match=r"no file matches .*trian-\*.*2 entries: train-0.parquet, train-1.parquet"):
        Pool.parquet(f"{tmp_path}/data/trian-*.parquet").located().listing()
    with pytest.raises(PlanError, match=r"no folder .*dataa.*Did you mean .*/data\?"):
        Pool.parquet(f"{tmp_path}/dataa/*.parquet", allow_gaps=True).located().listing()


def test_a_file_whose_name_is_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].tar")
    assert paths(Pool.webdataset(f"{tmp_path}/a[1].tar")) == ["a[1].tar"]


def test_a_listing_sees_new_files(tmp_path: Path) -> None:
    pool = Pool.webdataset(f"{tmp_path}/*.tar")
    touch(tmp_path, "a.tar")
    assert paths(pool) == ["a.tar"]
    touch(tmp_path, "b.tar")
    assert paths(pool) == ["a.tar", "b.tar"]


def test_wrong_pools_are_refused() -> None:
    with pytest.raises(PlanError, match="at least one URL"):
        Pool.parquet(text="t")
    with pytest.raises(PlanError, match="never closed"):
        Pool.parquet("/a/{0..1.parquet").located().listing()
    with pytest.raises(PlanError, match="Did you mean 'parquet'"):
        Pool("parket", ("a",))
    with pytest.raises(PlanError, match="'json:field'"):
        Pool.webdataset("a.tar", width="jpg:width")
    with pytest.raises(PlanError, match="by extension"):
        Pool.webdataset("a.tar", image="jpg;;png")
    with pytest.raises(PlanError, match="role 'text' needs"):
        Pool.parquet("a", text="")


def test_sources_have_one_spelling() -> None:
    parquet = Pool.parquet("a", text="caption", w="meta.width").located()
    assert parquet.sources(["text", "w", "score", "uid"]) == {
        "text": "column:caption",
        "w": "column:meta.width",
        "score": "column:score",
        "uid": "derived",
    }
    tar = Pool.webdataset("a", image=".JPG; png", uid="__key__", w="json:a.b").located()
    assert tar.sources(["image", "uid", "w"]) == {"image": "member:jpg;png", "uid": "key", "w": "json:a.b"}
    with pytest.raises(PlanError, match=r"no role 'imag'. Did you mean 'image'"):
        tar.sources(["imag"])


def test_other_storage_reads_the_same() -> None:
    system = fsspec.filesystem("memory")
    with system.open("/remote-pool/a.parquet", "wb") as file:
        pq.write_table(pa.table({"t": ["x", "y"]}), file)
    pool = Pool.parquet("memory://remote-pool/*.parquet", text="t")
    (shard,) = pool.located().listing().shards
    assert (shard.path, pool.located().root, pool.located().url(shard)) == (
        "a.parquet",
        "memory://remote-pool",
        "memory://remote-pool/a.parquet",
    )
    (chunk,) = pool.located().batches(shard, ["text"], pool.located().role_types([shard]))
    assert chunk.roles.to_pydict() == {"text": ["x", "y"]}
    assert chunk.uid.to_pylist() == [derived_uid("a.parquet", 0), derived_uid("a.parquet", 1)]
    system.rm("/remote-pool", recursive=True)


def test_a_wrong_recipe_is_refused_by_the_first_files_before_the_whole_listing(tmp_path: Path) -> None:
    """The range has gaps, which only the listing can tell: the wrong column is what the user hears of first."""
    write_pool(tmp_path / "pool", sizes=[5] * 3)
    source = Pool.parquet(f"{tmp_path}/pool/part-{{000..999}}.parquet", uid="uid", text="text")
    with pytest.raises(PlanError, match=r"text.*wrod_count|word_count"):
        prepare(source | Keep(col("text.wrod_count") > 3, reason="a.b"), str(tmp_path / "out"))
    with pytest.raises(PlanError, match="997 of the 1,000 names"):
        prepare(source | Keep(col("text").word_count() > 3, reason="a.b"), str(tmp_path / "out"))


def test_looking_ahead_finds_some_files_of_a_glob_or_a_range_and_nothing_else(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool", sizes=[2] * 12)
    whole = set(Pool.parquet(f"{tmp_path}/pool/*.parquet").located().listing().shards)
    for pattern in ("*.parquet", "part-{000..011}.parquet", "part-00[0-9].parquet", "{nothing,part}-*.parquet"):
        found = Pool.parquet(f"{tmp_path}/pool/{pattern}").located().look_ahead()
        assert found and set(found) <= whole, pattern
    assert Pool.parquet(f"{tmp_path}/pool/none-*.parquet").located().look_ahead() == []


def test_names_of_shards_do_not_meet(tmp_path: Path) -> None:
    """These paths, found by search, share the first 40 bits of a hash: names once held no more of it."""
    one, two = "145018/part.jsonl", "2076500/part.jsonl"
    assert blake2b(one.encode(), digest_size=5).digest() == blake2b(two.encode(), digest_size=5).digest()
    for name in (one, two):
        write_lines(tmp_path / "pool" / name, [{"text": name}])
    run(Pool.jsonl(f"{tmp_path}/pool/*/part.jsonl", text="text") | Keep(col("text") == two), tmp_path / "out")
    assert sorted(ledger(tmp_path / "out").column("keep").to_pylist()) == [False, True]


def test_shards_of_one_name_are_refused_when_the_pool_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, *(f"{n:03d}/part.jsonl" for n in range(300)))
    assert len(paths(Pool.jsonl(f"{tmp_path}/*/part.jsonl"))) == 300
    monkeypatch.setattr(shards, "NAME_HASH_BYTES", 1)
    with pytest.raises(PlanError, match=r"'\d+/part\.jsonl' and '\d+/part\.jsonl' would both be called 'part-"):
        paths(Pool.jsonl(f"{tmp_path}/*/part.jsonl"))


@pytest.mark.parametrize("stem", ["x" * 250, "日" * 80, "𝒳" * 60, "\udcff.x", "", "..", "a b/../c:d\n*?"])
def test_every_name_in_out_is_one_short_component(stem: str) -> None:
    for extent in (None, 1 << 40):
        shard = Shard(path=f"d/{stem}.tar", first=1 << 45, extent=extent)
        url = layout.rows_url("/out", shard, "uids")
        scores = f"{layout.score_prefix(shard)}-{'0' * 32}.parquet"
        for name in (url.removeprefix("/out/rows/"), scores, f"{shard.name}.parquet"):
            assert len(name.encode()) <= 255 and "/" not in name and name.isprintable() and name[0] not in "."
            assert layout.shard_of_file(name) == shard.name
