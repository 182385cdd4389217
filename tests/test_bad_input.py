"""The catalogue of broken input: what each costs. One bad row costs one row; a wrong argument costs seconds."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.passes.plan import prepare, prepare_stored
from poolsieve.dataflow.passes.submit import execute
from poolsieve.dataflow.pools.formats.base import ShardGone
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.store.manifest import read_cuts
from poolsieve.filters import In, Keep, Score, Top, col, datacomp, scorer
from poolsieve.scoring_models import Clip, ImageSize, Language
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import ledger, run, text_table, write_pool

Files = dict[str, bytes]


def jpeg(side: int = 40, mode: str = "RGB", form: str = "JPEG") -> bytes:
    sink = io.BytesIO()
    Image.effect_noise((side, side), 90).convert(mode).save(sink, form)
    return sink.getvalue()


def tar(path: Path, members: list[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def sample(key: str, **changes: bytes) -> list[tuple[str, bytes]]:
    """A good sample, or one with some members changed."""
    made = {"jpg": jpeg(), "json": json.dumps({"uid": f"{key}-id", "n": 1}).encode(), "txt": b"a good caption"}
    return [(f"{key}.{ext}", data) for ext, data in (made | changes).items()]


def tars(folder: Path, members: list[tuple[str, bytes]], **changes: Any) -> Recipe:
    """A pool of one tar: a good sample, `members`, another good sample."""
    folder.mkdir(exist_ok=True)
    tar(folder / "0.tar", [*sample("good"), *members, *sample("last")], **changes)
    return tar_recipe(folder)


def tar_recipe(folder: Path) -> Recipe:
    pool = Pool.webdataset(f"{folder}/*.tar", uid="json:uid", text="txt", image="jpg", n="json:n")
    return (
        pool
        | Keep(col("text").word_count() > 1, reason="t.short")
        | Score(size=ImageSize())
        | Keep(col("size.width") > 5, reason="t.small")
        | Keep(col("n") > 0, reason="t.n")
    )


BAD_SAMPLES: dict[str, tuple[list[tuple[str, bytes]], dict[str, int]]] = {
    "corrupt image": (sample("x", jpg=b"\xff\xd8\xff nonsense"), {"quarantine.image_decode": 1}),
    "image of zero bytes": (sample("x", jpg=b""), {"quarantine.image_decode": 1}),
    "image that is HTML": (sample("x", jpg=b"<html>404</html>"), {"quarantine.image_decode": 1}),
    "image missing": (sample("x")[1:], {"t.small": 1}),
    "caption missing": (sample("x")[:2], {"t.short": 1}),
    "caption empty": (sample("x", txt=b""), {"t.short": 1}),
    "caption of blanks": (sample("x", txt=b" \n\t "), {"t.short": 1}),
    "caption not UTF-8": (sample("x", txt=b"caf\xe9 au lait"), {"quarantine.text_utf8": 1}),
    "JSON broken": (sample("x", json=b'{"uid": '), {"quarantine.json_decode": 1}),
    "JSON no object": (sample("x", json=b"[1, 2]"), {"quarantine.json_decode": 1}),
    "JSON field of another type": (sample("x", json=b'{"uid": "x", "n": "many"}'), {"quarantine.json_type": 1}),
    "JSON field null": (sample("x", json=b'{"uid": null, "n": null}'), {"t.n": 1}),
    "JSON number NaN": (sample("x", json=b'{"uid": "x", "n": NaN}'), {"t.n": 1}),
    "member twice": ([*sample("x"), ("x.txt", b"another caption")], {"quarantine.duplicate_member": 1}),
    "key twice, not adjacent": ([*sample("x"), *sample("y"), *sample("x")], {}),
    "uid twice": ([*sample("x"), *sample("y", json=b'{"uid": "x-id", "n": 1}')], {}),
    "path traversal": ([(f"../../etc/{n}", d) for n, d in sample("x")], {}),
    "absolute path": ([(f"/etc/{n}", d) for n, d in sample("x")], {}),
    "names without a dot": ([("README", b"hello"), ("Makefile", b"all:")], {}),
    "AppleDouble litter": ([("._x.jpg", b"\0"), ("__MACOSX/._x.jpg", b"\0")], {}),
    "key of 300 characters": (sample("k" * 300), {}),
    "key with emoji": (sample("🙂"), {}),
}


@pytest.mark.parametrize("name", BAD_SAMPLES)
def test_bad_sample_in_a_tar(name: str, tmp_path: Path) -> None:
    members, reasons = BAD_SAMPLES[name]
    summary = run(tars(tmp_path / "pool", members), tmp_path / "out")
    assert summary.reasons == reasons
    found = ledger(tmp_path / "out")
    assert found["keep"][0].as_py() is True
    assert found["keep"][found.num_rows - 1].as_py() is True, "the neighbours are scored"
    assert not (tmp_path.parent / "etc").exists()


def test_decompression_bomb_costs_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    summary = run(tars(tmp_path / "pool", sample("x", jpg=bomb.getvalue())), tmp_path / "out")
    assert summary.reasons == {"quarantine.image_bomb": 1}


def _cut(folder: Path, member: int) -> None:
    """Ends the file ten bytes into a member's data."""
    path = folder / "0.tar"
    with tarfile.open(path) as file:
        where = file.getmembers()[member].offset_data
    path.write_bytes(path.read_bytes()[: where + 10])


def _damage_header(folder: Path) -> None:
    path = folder / "0.tar"
    with tarfile.open(path) as file:
        where = [m.offset for m in file.getmembers()][3]
    data = bytearray(path.read_bytes())
    data[where : where + 100] = b"\xff" * 100
    path.write_bytes(bytes(data))


BAD_TARS: dict[str, tuple[Callable[[Path], Any], dict[str, int], int]] = {
    "truncated in an image": (lambda f: _cut(f, 3), {"quarantine.truncated": 1}, 1),
    "truncated in a caption": (lambda f: _cut(f, 8), {"quarantine.truncated": 1}, 2),
    "header damaged in the middle": (_damage_header, {"quarantine.tar_header": 1}, 1),
    "of zero bytes": (lambda f: (f / "0.tar").write_bytes(b""), {"quarantine.empty_file": 1}, 0),
    "no tar at all": (lambda f: (f / "0.tar").write_bytes(b"not a tar " * 200), {"quarantine.not_tar": 1}, 0),
    "empty archive": (lambda f: (f / "0.tar").write_bytes(b"\0" * 10240), {}, 0),
}


@pytest.mark.parametrize("name", BAD_TARS)
def test_bad_tar(name: str, tmp_path: Path) -> None:
    damage, reasons, least = BAD_TARS[name]
    recipe = tars(tmp_path / "pool", sample("x"))
    damage(tmp_path / "pool")
    tar(tmp_path / "pool" / "1.tar", [*sample("fine")])
    summary = run(recipe, tmp_path / "out")
    assert {k: v for k, v in summary.reasons.items() if k.startswith("quarantine")} == reasons
    assert summary.kept >= least + 1, "the other shard, and what could be read"


def _bytes_of(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=100, compression="none", use_dictionary=False)
    return sink.getvalue()


def _damaged_page(table: pa.Table) -> bytes:
    data = bytearray(_bytes_of(table))
    meta = pq.ParquetFile(io.BytesIO(bytes(data))).metadata
    column = next(c for c in range(meta.num_columns) if meta.row_group(1).column(c).path_in_schema == "text")
    start = meta.row_group(1).column(column).data_page_offset
    data[start : start + 40] = b"\xff" * 40
    return bytes(data)


BAD_PARQUETS: dict[str, tuple[Callable[[pa.Table], bytes], dict[str, int], int]] = {
    "of zero bytes": (lambda t: b"", {"quarantine.empty_file": 1}, 1),
    "truncated": (lambda t: _bytes_of(t)[:-200], {"quarantine.truncated": 1}, 1),
    "no Parquet at all": (lambda t: b"uid,text\n1,a\n" * 50, {"quarantine.not_parquet": 1}, 1),
    "damaged row group": (_damaged_page, {"quarantine.row_group": 100}, 300),
    "no rows": (lambda t: _bytes_of(t.slice(0, 0)), {}, 0),
    "a column missing": (lambda t: _bytes_of(t.drop_columns(["text"])), {"quarantine.missing_column": 300}, 300),
    "a column of another width": (
        lambda t: _bytes_of(t.set_column(2, "original_width", t["original_width"].cast("int32"))),
        {},
        300,
    ),
    "a column of another kind": (
        lambda t: _bytes_of(t.set_column(2, "original_width", pa.array(["wide"] * 300))),
        {"quarantine.cast": 300},
        300,
    ),
    "null captions": (lambda t: _bytes_of(t.set_column(1, "text", pa.nulls(300, pa.string()))), {"t.short": 300}, 300),
    "captions not UTF-8": (
        lambda t: _bytes_of(
            t.set_column(1, "text", pa.array([b"two words", b"\xff\xfe"] * 150, pa.binary()).view(pa.string()))
        ),
        {"quarantine.text_utf8": 150},
        300,
    ),
    "uids null": (lambda t: _bytes_of(t.set_column(0, "uid", pa.nulls(300, pa.string()))), {}, 300),
    "columns in another order": (lambda t: _bytes_of(t.select(t.column_names[::-1])), {}, 300),
}


def two_words(n: int, seed: int) -> pa.Table:
    table = text_table(n, seed)
    return table.set_column(1, "text", pa.array(["two words"] * n))


@pytest.mark.parametrize("name", BAD_PARQUETS)
def test_bad_parquet(name: str, tmp_path: Path) -> None:
    make, reasons, rows = BAD_PARQUETS[name]
    (tmp_path / "pool").mkdir()
    pq.write_table(two_words(100, 1), tmp_path / "pool" / "a.parquet")
    (tmp_path / "pool" / "b.parquet").write_bytes(make(two_words(300, 2)))
    pool = Pool.parquet(f"{tmp_path}/pool/*.parquet", uid="uid", text="text", width="original_width")
    recipe = pool | Keep(col("text").word_count() > 1, reason="t.short") | Keep(col("width") > 0, reason="t.width")
    summary = run(recipe, tmp_path / "out")
    assert summary.reasons == reasons
    assert summary.rows == 100 + rows
    assert len(set(ledger(tmp_path / "out")["uid"].to_pylist())) == summary.rows


def test_nan_and_infinite_scores_in_a_column(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    scores = pa.array([0.5, float("nan"), float("inf"), float("-inf"), None, 0.7], pa.float32())
    pq.write_table(pa.table({"s": scores}), tmp_path / "pool" / "a.parquet")
    run(Pool.parquet(f"{tmp_path}/pool/*.parquet") | Top("s", count=2), tmp_path / "out")
    assert ledger(tmp_path / "out")["keep"].to_pylist() == [False, False, True, False, False, True]
    run(Pool.parquet(f"{tmp_path}/pool/*.parquet") | Top("s", fraction=1), tmp_path / "all")
    assert ledger(tmp_path / "all")["keep"].to_pylist() == [True, False, True, True, False, True]


def test_all_rows_dropped_is_a_whole_run(pool: Path, tmp_path: Path) -> None:
    summary = run(
        Pool.parquet(f"{pool}/*.parquet", text="text") | Keep(col("text").word_count() > 99), tmp_path / "out"
    )
    assert (summary.kept, summary.rows) == (0, 1200)
    subset = np.load(tmp_path / "out" / "decisions" / summary.decision / "subset.npy")
    assert subset.shape == (0,)


def wrong_length(text: pa.Array) -> pa.Array:
    return pa.array([1.0])


def test_a_scorer_that_returns_too_few_values(pool: Path, tmp_path: Path) -> None:
    recipe = Pool.parquet(f"{pool}/*.parquet", text="text") | Score(
        w=scorer(wrong_length, reads=("text",), columns={"x": "float32"})
    )
    with pytest.raises(PoolsieveError, match=r"returned 1 values .* for \d+ rows"):
        run(recipe, tmp_path / "out")


WRONG_PLANS: dict[str, tuple[Callable[[str], Any], str]] = {
    "no file at all": (lambda p: Pool.parquet(f"{p}/*.parq") | Keep(col("x") > 1), r"\.parq"),
    "gap in a range": (lambda p: Pool.parquet(f"{p}/part-{{000..004}}.parquet") | Keep(col("clip") > 1), "part-003"),
    "unknown column as role": (
        lambda p: Pool.parquet(f"{p}/*.parquet", text="texd") | Keep(col("clip") > 1),
        "'?text'?",
    ),
    "unknown score": (lambda p: Pool.parquet(f"{p}/*.parquet") | Keep(col("clp") > 1), "'clip'"),
    "unknown role of a statistic": (
        lambda p: Pool.parquet(f"{p}/*.parquet") | Keep(col("txt").word_count() > 1),
        "'text'",
    ),
    "role of a scorer": (lambda p: Pool.parquet(f"{p}/*.parquet") | Score(s=ImageSize()), "role 'image'"),
    "same reason twice": (
        lambda p: Pool.parquet(f"{p}/*.parquet") | Keep(col("clip") > 1) | Keep(col("clip") > 2),
        "same reason",
    ),
    "same score twice": (
        lambda p: Pool.parquet(f"{p}/*.parquet", text="text") | Score(a=Language()) | Score(a=Language()),
        "exists already",
    ),
    "a string against a number": (lambda p: Pool.parquet(f"{p}/*.parquet") | Keep(col("text") > 3), "compares text"),
    "a number against a string": (lambda p: Pool.parquet(f"{p}/*.parquet") | Keep(col("clip") == "a"), "compares clip"),
    "ranking strings": (lambda p: Pool.parquet(f"{p}/*.parquet") | Top("text", fraction=0.1), "needs numbers"),
    "basic filters without sizes": (
        lambda p: Pool.parquet(f"{p}/*.parquet", text="text") | datacomp.basic(),
        'size="stored"',
    ),
    "missing model folder": (
        lambda p: Pool.parquet(f"{p}/*.parquet", text="text", image="uid") | Score(s=Clip("local-dir:/nowhere/model")),
        "/nowhere/model",
    ),
    "missing list": (
        lambda p: Pool.parquet(f"{p}/*.parquet", uid="uid") | In("/nowhere/list.npy"),
        "/nowhere/list.npy",
    ),
    "no stages": (lambda p: Recipe(Pool.parquet(f"{p}/*.parquet")), "no stages"),
}


@pytest.mark.parametrize("name", WRONG_PLANS)
def test_wrong_plan_is_refused_before_work(name: str, pool: Path, tmp_path: Path) -> None:
    make, message = WRONG_PLANS[name]
    with pytest.raises(PlanError, match=message):
        run(make(str(pool)), tmp_path / "out")
    assert not (tmp_path / "out" / "rows").exists()


WRONG_FILES: dict[str, tuple[str, str]] = {
    "syntax error": ("recipe = (", "was never closed"),
    "no recipe": ("x = 1", "defines no `recipe`"),
    "recipe of another type": ("recipe = 3", "is int"),
    "error while it runs": ("recipe = 1 / 0", "division by zero"),
    "import of something missing": ("import nowhere_to_be_found", "nowhere_to_be_found"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_wrong_recipe_file(name: str, tmp_path: Path) -> None:
    text, message = WRONG_FILES[name]
    path = tmp_path / "recipe.py"
    path.write_text(text)
    with pytest.raises(PlanError, match=message):
        RecipeSource.read(str(path)).recipe()


def test_all_shards_unreadable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a.parquet").write_bytes(b"nonsense")
    with pytest.raises(PlanError, match=r"a\.parquet"):
        run(
            Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text") | Keep(col("text").word_count() > 1),
            tmp_path / "out",
        )


def test_out_inside_the_pool_is_refused(pool: Path) -> None:
    with pytest.raises(PlanError, match="inside the pool"):
        prepare(Pool.parquet(f"{pool}/**/*.parquet") | Keep(col("clip") > 1), str(pool))


def test_pool_file_changed_between_run_and_export(pool: Path, tmp_path: Path) -> None:
    run(Pool.parquet(f"{pool}/*.parquet", uid="uid") | Keep(col("clip") > 0.2), tmp_path / "out")
    pq.write_table(text_table(400, 5), pool / "part-000.parquet")
    with pytest.raises(PoolsieveError, match=r"part-000\.parquet has changed"):
        export(str(tmp_path / "out"))
    assert not (tmp_path / "out" / "export" / "_export.json").exists()


def test_pool_file_gone_between_plan_and_run(pool: Path, tmp_path: Path) -> None:
    prepared = prepare(Pool.parquet(f"{pool}/*.parquet") | Keep(col("clip") > 0.2), str(tmp_path / "out"))
    (pool / "part-001.parquet").unlink()
    with pytest.raises(ShardGone, match="part-001"):
        execute(prepared)


def test_a_damaged_score_file_names_itself(pool: Path, tmp_path: Path) -> None:
    recipe = Pool.parquet(f"{pool}/*.parquet") | Keep(col("clip") > 0.2)
    run(recipe, tmp_path / "out")
    damaged = next((tmp_path / "out" / "scores").glob("clip-*/*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(PoolsieveError, match=f"{damaged.name} is damaged"):
        run(recipe, tmp_path / "out")


@pytest.mark.parametrize("folder", ["scores/clip-*", "rows"])
def test_a_damaged_footer_names_its_file(folder: str, pool: Path, tmp_path: Path) -> None:
    """Of which Arrow says `OSError: Couldn't deserialize thrift` and no name."""
    recipe = Pool.parquet(f"{pool}/*.parquet") | Keep(col("clip") > 0.2)
    run(recipe, tmp_path / "out")
    damaged = next((tmp_path / "out").glob(f"{folder}/*.parquet"))
    data = damaged.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    damaged.write_bytes(data[:footer] + b"\xff" * 8 + data[footer + 8 :])
    with pytest.raises(PoolsieveError, match=f"{damaged.name} is damaged"):
        run(recipe, tmp_path / "out")


def test_a_list_of_shards_that_is_no_utf8_names_itself(pool: Path, tmp_path: Path) -> None:
    summary = run(Pool.parquet(f"{pool}/*.parquet") | Keep(col("clip") > 0.2), tmp_path / "out")
    path = tmp_path / "out" / "decisions" / summary.decision / "shards.parquet"
    path.write_bytes(path.read_bytes().replace(b"ledger_sha256", b"ledger_sha\xff\xff\xff"))
    with pytest.raises(PoolsieveError, match=r"shards\.parquet is of another version or was edited"):
        export(str(tmp_path / "out"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"decision": 3', "null"])
def test_a_damaged_manifest_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(PlanError, match=r"manifest\.json"):
        prepare_stored(None, str(tmp_path))


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 3}', '{"a": {"": {"kind": "rank"}}}', '{"a": {"": []}}'])
def test_a_damaged_cuts_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "cuts.json").write_text(text)
    with pytest.raises(PlanError):
        read_cuts(str(tmp_path / "cuts.json"))


def test_cuts_of_another_recipe_are_refused(pool: Path, tmp_path: Path) -> None:
    first = run(Pool.parquet(f"{pool}/*.parquet") | Top("clip", fraction=0.5), tmp_path / "out")
    frozen = read_cuts(str(tmp_path / "out" / "decisions" / first.decision / "cuts.json"))
    with pytest.raises(PlanError, match="cuts are"):
        prepare(
            Pool.parquet(f"{pool}/*.parquet") | Top("original_width", fraction=0.5), str(tmp_path / "o"), frozen=frozen
        )


def test_no_space_left_leaves_nothing_half_written(pool: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], check=False).returncode
    ):
        pytest.skip("needs to mount a small file system")
    try:
        with pytest.raises(OSError, match="No space left"):
            run(
                Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Keep(col("text").word_count() > 1),
                small / "out",
            )
        assert not [p for p in small.rglob("*") if p.is_file() and p.name.startswith(".poolsieve-tmp")]
        assert not (small / "out" / "manifest.json").exists()
    finally:
        subprocess.run(["umount", small], check=True)


def test_out_that_can_not_be_written(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file stands where the folder should be")
    with pytest.raises(PlanError, match="out is a file, and a folder is needed"):
        run(Pool.parquet(f"{pool}/*.parquet") | Keep(col("clip") > 0.2), tmp_path / "out")


def test_unreadable_pool_file(pool: Path, tmp_path: Path) -> None:
    shutil.rmtree(pool)
    write_pool(pool)
    (pool / "part-001.parquet").chmod(0)
    recipe = Pool.parquet(f"{pool}/*.parquet") | Keep(col("clip") > 0.2)
    if os.access(pool / "part-001.parquet", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(PermissionError, match="part-001"):
        run(recipe, tmp_path / "out")
