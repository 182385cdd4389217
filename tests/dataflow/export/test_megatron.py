"""`--format megatron`: pairs of `.bin` and `.idx`, read back by the format's definition and compared with datatrove's."""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from datatrove.data import Document
from datatrove.pipeline.tokens.megatron_tokenizer import MegatronDocumentTokenizer, MegatronTokenizedFile
from hypothesis import given, settings
from hypothesis import strategies as st

import poolsieve
from poolsieve.dataflow import Pool, fs
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.export.index import ExportIndex
from poolsieve.dataflow.export.megatron import layout
from poolsieve.dataflow.export.megatron.layout import Sequences, stored_as, type_of
from poolsieve.dataflow.export.sink import sink
from poolsieve.dataflow.tokenizers import encode
from poolsieve.filters import Edit, Keep, Score, col, editor, lines, scorer
from poolsieve.jobs.cli import main
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests import forked
from tests.conftest import run
from tests.dataflow.exported import add
from tests.dataflow.tokenize import tiny

WIDTHS = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}


def read(prefix: Path | str) -> list[list[int]]:
    """The documents of a pair of files, by the format's definition; fails where they don't go together."""
    index, ids = Path(f"{prefix}.idx").read_bytes(), Path(f"{prefix}.bin").read_bytes()
    magic, version, code, sequences, ends = struct.unpack_from("<9sQBQQ", index)
    assert (magic, version, ends) == (b"MMIDIDX\0\0", 1, sequences + 1)
    start = struct.calcsize("<9sQBQQ")
    assert len(index) == start + 20 * sequences + 8
    sizes = struct.unpack_from(f"<{sequences}i", index, start)
    pointers = struct.unpack_from(f"<{sequences}q", index, start + 4 * sequences)
    borders = struct.unpack_from(f"<{ends}q", index, start + 12 * sequences)
    assert borders == tuple(range(sequences + 1))
    width = np.dtype(WIDTHS[code]).itemsize
    assert sum(sizes) * width == len(ids) and sorted(pointers) == list(pointers)
    return [np.frombuffer(ids, WIDTHS[code], n, p).tolist() for n, p in zip(sizes, pointers, strict=True)]


def documents_of(found: ExportIndex) -> list[list[int]]:
    """Those of all pairs, in order."""
    prefixes = [file.name.removesuffix(".bin") for file in found.files if file.name.endswith(".bin")]
    assert [file.name for file in found.files] == [f"{p}{end}" for p in prefixes for end in (".bin", ".idx")]
    return [one for prefix in prefixes for one in read(Path(found.target, prefix))]


def theirs(folder: Path, documents: Sequence[Sequence[int]], token_size: int) -> tuple[bytes, bytes]:
    """What datatrove's writer makes of the same ids."""
    file = MegatronTokenizedFile(str(folder), "theirs", token_size=token_size)
    for ids in documents:
        file.write(list(ids))
    file.close()
    return (folder / "theirs.bin").read_bytes(), (folder / "theirs.idx").read_bytes()


def ours(found: ExportIndex) -> tuple[bytes, bytes]:
    """The only pair of an export."""
    one, two = found.files
    return Path(found.target, one.name).read_bytes(), Path(found.target, two.name).read_bytes()


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    return tiny.bpe(tmp_path / "tokenizer")


def docs(folder: Path, shards: Sequence[Sequence[Any]]) -> Pool:
    for i, texts in enumerate(shards):
        tiny.write_documents(folder / f"{i}.jsonl", texts, 100 * i)
    return Pool.jsonl(f"{folder}/*.jsonl", uid="id", text="text")


def long_enough(pool: Pool) -> Any:
    return pool | Keep(col("text").word_count() >= 3, reason="text.short")


def everything(pool: Pool) -> Any:
    """A recipe that keeps every row, whatever its text is."""
    return pool | Score(any=scorer(_one, reads=("uid",), columns={"x": "float32"})) | Keep(col("any") > 0, reason="no")


def _one(uid: Any) -> list[float]:
    return [1.0] * len(uid)


def in_ids(tokenizer: Path, texts: Sequence[str | None]) -> list[list[int]]:
    """By a bare loop: ids of each text that has any, with the end behind."""
    return [ids for text in texts if (ids := tiny.plainly(tokenizer, [text]))]


TEXTS = [[tiny.words(1 + i % 9, 100 * shard + i) for i in range(n)] for shard, n in enumerate((30, 20, 25))]
KEPT = [text for shard in TEXTS for text in shard if len(text.split()) >= 3]


def test_the_bytes_are_datatroves(tokenizer: Path, tmp_path: Path) -> None:
    run(long_enough(docs(tmp_path / "docs", TEXTS)), tmp_path / "out")
    found = export(str(tmp_path / "out"), format="megatron", tokenizer=str(tokenizer))
    wanted = in_ids(tokenizer, KEPT)
    assert documents_of(found) == wanted and ours(found) == theirs(tmp_path, wanted, 2)
    assert found.rows == len(KEPT) and found.tokens == sum(map(len, wanted)) and found.unreadable == 0
    whole = MegatronDocumentTokenizer(
        str(tmp_path / "whole"), tokenizer_name_or_path=str(tokenizer / "tokenizer.json"), eos_token=tiny.END
    )
    whole.run([Document(text=text, id="") for text in KEPT])
    there = tmp_path / "whole" / "00000_tokens"
    assert ours(found) == (there.with_suffix(".bin").read_bytes(), there.with_suffix(".idx").read_bytes())
    assert set(tiny.contents(Path(found.target))) == {*found.names, "_export.json"}


def test_the_ids_are_those_of_tokenize(tokenizer: Path, tmp_path: Path) -> None:
    made = poolsieve.run(everything(docs(tmp_path / "docs", [*TEXTS, ["a <|endoftext|> b"]])), tmp_path / "out")
    found = made.export(format="megatron", tokenizer=str(tokenizer))
    files = poolsieve.tokenize(f"{tmp_path}/docs/*.jsonl", tmp_path / "tokens", tokenizer=str(tokenizer)).files
    raw = b"".join((tmp_path / "tokens" / file.name).read_bytes() for file in files)
    assert ours(found)[0] == raw
    assert (Path(found.target) / "tokenizer.json").read_bytes() == (tmp_path / "tokens" / "tokenizer.json").read_bytes()


def test_a_large_vocabulary_is_int32(tmp_path: Path) -> None:
    most = tiny.word_list(tmp_path / "most", 1 << 16)
    more = tiny.word_list(tmp_path / "more", (1 << 16) + 1)
    pool = docs(tmp_path / "docs", [["w65535 w2 w3", "w7 w65534 w2"]])
    made = poolsieve.run(long_enough(pool), tmp_path / "out")
    small = made.export(format="megatron", tokenizer=str(most), to=tmp_path / "small")
    large = made.export(format="megatron", tokenizer=str(more), to=tmp_path / "large")
    wanted = [[65535, 2, 3, 0], [7, 65534, 2, 0]]
    assert documents_of(small) == documents_of(large) == wanted
    assert ours(small) == theirs(tmp_path, wanted, 2) and ours(large) == theirs(tmp_path, wanted, 4)
    assert type_of("t", 1 << 31) == "int32"
    with pytest.raises(PlanError, match=r"t has ids up to 2,147,483,648"):
        type_of("t", (1 << 31) + 1)


def test_what_gives_no_token_is_left_out_and_told(tokenizer: Path, tmp_path: Path) -> None:
    pool = docs(tmp_path / "docs", [["abc", None, "", "de fg"], [None]])
    with (tmp_path / "docs" / "0.jsonl").open("ab") as file:
        file.write(b'{"id": "no text"}\n{"id": "bad", "text": 3}\n{"id": "late", "text": "h"}\n')
    run(everything(pool), tmp_path / "out")
    found = export(str(tmp_path / "out"), format="megatron", tokenizer=str(tokenizer))
    assert documents_of(found) == in_ids(tokenizer, ["abc", "de fg", "h"])
    first = found.files[0]
    assert (found.rows, found.unreadable, first.blank) == (3, 1, 4)
    assert found.warnings == (
        "1 rows could not be read and were left out",
        "4 documents gave no token and were left out",
    )


def test_parquet_and_tars(tokenizer: Path, tmp_path: Path) -> None:
    texts = [tiny.words(5, i) for i in range(40)]
    for kind in (pa.string(), pa.large_string()):
        folder = tmp_path / str(kind)
        folder.mkdir()
        pq.write_table(pa.table({"body": pa.array([*texts, None], kind)}), folder / "a.parquet", row_group_size=7)
        made = poolsieve.run(everything(Pool.parquet(f"{folder}/*.parquet", text="body", split_bytes=1)), folder / "o")
        assert documents_of(made.export(format="megatron", tokenizer=str(tokenizer))) == in_ids(tokenizer, texts)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i, text in enumerate(texts):
            add(archive, f"{i:03d}.txt", text.encode() if i != 7 else b"\xff\xfe")
    made = poolsieve.run(everything(Pool.webdataset(f"{tmp_path}/a.tar", text="txt")), tmp_path / "o")
    found = made.export(format="megatron", tokenizer=str(tokenizer), say=lambda text: None)
    assert documents_of(found) == in_ids(tokenizer, texts[:7] + texts[8:]) and found.unreadable == 1


def test_another_text_than_the_pools(tokenizer: Path, tmp_path: Path) -> None:
    table = pa.table({"text": ["a b", "c d"], "body": ["e f", "g h"], "n": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    made = poolsieve.run(everything(Pool.parquet(f"{tmp_path}/a.parquet")), tmp_path / "out")
    # No role, but a column of that name.
    own = made.export(format="megatron", tokenizer=str(tokenizer), to=tmp_path / "own")
    other = made.export(format="megatron", tokenizer=str(tokenizer), to=tmp_path / "other", text="body")
    assert documents_of(own) == in_ids(tokenizer, ["a b", "c d"])
    assert documents_of(other) == in_ids(tokenizer, ["e f", "g h"]) and own.export != other.export
    with pytest.raises(PlanError, match=r"column:n of the pool holds int64.*--text"):
        made.export(format="megatron", tokenizer=str(tokenizer), to=tmp_path / "none", text="n")


def test_a_union(tokenizer: Path, tmp_path: Path) -> None:
    one = docs(tmp_path / "one", [["a b c", "d"]])
    pq.write_table(pa.table({"body": ["e f g", "h"]}), tmp_path / "a.parquet")
    two = Pool.parquet(f"{tmp_path}/a.parquet", text="body")
    made = poolsieve.run(long_enough(Pool.union(one=one, two=two)), tmp_path / "out")
    assert documents_of(made.export(format="megatron", tokenizer=str(tokenizer))) == in_ids(
        tokenizer, ["a b c", "e f g"]
    )


def shout(text: pa.Array) -> pa.Array:
    if "bad bad bad" in text.to_pylist():
        raise ValueError("can't")
    return pc.utf8_upper(text)


def test_edited_texts(tokenizer: Path, tmp_path: Path) -> None:
    pool = docs(tmp_path / "docs", [[*TEXTS[0], "bad bad bad"], TEXTS[1]])
    recipe = everything(pool) | Edit(loud=editor(shout, reads=("text",)))
    made = poolsieve.run(recipe, tmp_path / "out")
    found = made.export(format="megatron", tokenizer=str(tokenizer), columns={"text": "loud"}, recipe=recipe)
    assert documents_of(found) == in_ids(tokenizer, [text.upper() for text in TEXTS[0] + TEXTS[1]])
    assert found.unreadable == 1 and json.loads(Path(found.target, "_export.json").read_bytes())["columns"]["text"]
    for columns, more, match in (
        ({"body": "loud"}, {}, r"one place for texts, not 'body'"),
        ({"text": "loud"}, {"text": "text"}, "--text and --column"),
        ({"text": "load"}, {}, "edits no role 'load'"),
    ):
        with pytest.raises(PlanError, match=match):
            made.export(
                format="megatron", tokenizer=str(tokenizer), columns=columns, recipe=recipe, to=tmp_path / "no", **more
            )


def test_texts_of_an_edit_that_reads_scores(tokenizer: Path, tmp_path: Path) -> None:
    """A line that three texts have goes from each; rows that were dropped stand between those that leave."""
    own = ["a b c", "d e f", "g a b"]
    pool = docs(tmp_path / "docs", [[own[0], f"e e\n{own[0]}"], [f"{own[1]}\ne e", f"e e\n{own[2]}"]])
    recipe = (
        everything(pool) | lines.repeated(pool, most=2, min_chars=1) | Keep(col("lines.dropped") > 0, reason="none")
    )
    made = poolsieve.run(recipe, tmp_path / "out")
    found = made.export(format="megatron", tokenizer=str(tokenizer), columns={"text": "text"}, recipe=recipe)
    assert documents_of(found) == in_ids(tokenizer, [own[0], own[1], own[2]])


def test_what_a_list_names_twice_leaves_twice(tokenizer: Path, tmp_path: Path) -> None:
    run(long_enough(docs(tmp_path / "docs", [["a b c", "", "d e f", "g"]])), tmp_path / "out")
    listed = tmp_path / "uids.txt"
    listed.write_text("d0\nd0\nd0\nd1\nd1\nd3\n")
    found = export(str(tmp_path / "out"), format="megatron", tokenizer=str(tokenizer), uids=listed)
    assert documents_of(found) == in_ids(tokenizer, ["a b c"] * 3 + ["g"])
    assert (found.rows, found.files[0].blank, found.uids) == (4, 2, found.uids)
    dropped = export(
        str(tmp_path / "out"), format="megatron", tokenizer=str(tokenizer), select="text.*", target=tmp_path / "dropped"
    )
    assert documents_of(dropped) == in_ids(tokenizer, ["g"]) and dropped.files[0].blank == 1


def test_nothing_kept_makes_no_files(tokenizer: Path, tmp_path: Path) -> None:
    run(long_enough(docs(tmp_path / "docs", [["a"]])), tmp_path / "out")
    found = export(str(tmp_path / "out"), format="megatron", tokenizer=str(tokenizer))
    assert found.files == () and found.warnings == ("no row was exported",)


# Pools of token files


def chunks(
    folder: Path, dtype: str, files: int = 3, length: int = 8, most: int = 100
) -> tuple[Pool, np.ndarray[Any, Any]]:
    folder.mkdir()
    made = np.random.default_rng(1).integers(0, most, (files * 20, length)).astype(dtype)
    for i in range(files):
        with (folder / f"{i}.npy").open("wb") as file:
            file.write(made[20 * i : 20 * i + 20].tobytes() + made[0, :3].tobytes())
    return Pool.tokens(f"{folder}/*.npy", dtype=dtype, length=length, split_bytes=130), made


def low(tokens: Any) -> list[float]:
    return [float(chunk[0]) for chunk in tokens.to_pylist()]


def first_is_low(pool: Pool) -> Any:
    return (
        pool | Score(low=scorer(low, reads=("tokens",), columns={"x": "float32"})) | Keep(col("low") < 50, reason="h")
    )


@pytest.mark.parametrize("dtype", ["uint16", "int32", "uint32", "uint8", "int64", "uint64"])
def test_chunks_are_sequences_as_they_are(dtype: str, tmp_path: Path) -> None:
    pool, made = chunks(tmp_path / "pool", dtype)
    run(first_is_low(pool), tmp_path / "out")
    found = export(str(tmp_path / "out"), format="megatron")
    kept = made[made[:, 0] < 50]
    assert documents_of(found) == kept.tolist() and ours(found)[0] == kept.tobytes()
    assert found.rows == len(kept) and found.tokens == kept.size and found.also == ()
    if dtype in ("uint16", "int32", "uint32"):
        assert ours(found) == theirs(tmp_path, kept.tolist(), kept.itemsize)


def test_files_close_by_what_is_written(tokenizer: Path, tmp_path: Path) -> None:
    """Rows may hold much beside their text, which makes no file larger; chunks are as large as they are."""
    folder = tmp_path / "pool"
    folder.mkdir()
    texts = [[tiny.words(20, 50 * i + j) for j in range(50)] for i in range(8)]
    for i, some in enumerate(texts):
        pq.write_table(pa.table({"text": some, "image": [bytes(2000 + j) for j in range(50)]}), folder / f"{i}.parquet")
    made = poolsieve.run(everything(Pool.parquet(f"{folder}/*.parquet", text="text", image="image")), tmp_path / "out")
    whole = made.export(format="megatron", tokenizer=str(tokenizer), to=tmp_path / "whole")
    half = whole.files[0].bytes // 2 - 200
    found = made.export(format="megatron", tokenizer=str(tokenizer), to=tmp_path / "halves", target_bytes=half)
    sizes = [file.bytes for file in found.files if file.name.endswith(".bin")]
    assert len(sizes) == 2 and max(sizes) < 1.3 * min(sizes) and documents_of(found) == documents_of(whole)
    run(first_is_low(chunks(tmp_path / "ids", "uint16", most=50)[0]), tmp_path / "chunks")
    cut = export(str(tmp_path / "chunks"), format="megatron", target_bytes=320)
    assert [file.bytes for file in cut.files if file.name.endswith(".bin")] == [320] * 3


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_ids_that_the_format_has_not_are_refused(dtype: str, tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    half = 1 << (8 * np.dtype(dtype).itemsize - 1)
    for name, last in (("fits", half - 1), ("wide", half)):
        np.array([1, last], dtype).tofile(tmp_path / "pool" / f"{name}.npy")
        pool = Pool.tokens(f"{tmp_path}/pool/{name}.npy", dtype=dtype, length=2)
        run(first_is_low(pool), tmp_path / name)
    assert documents_of(export(str(tmp_path / "fits"), format="megatron")) == [[1, half - 1]]
    with pytest.raises(PoolsieveError, match=f"an id is {half:,}, and Megatron's files hold none above {half - 1:,}"):
        export(str(tmp_path / "wide"), format="megatron")
    assert not list((tmp_path / "wide" / "export").rglob("*.bin"))


# Sameness, and what is left by the killed


def test_workers_and_pieces_change_no_byte(tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = poolsieve.run(long_enough(docs(tmp_path / "docs", TEXTS)), tmp_path / "out")
    how = {"format": "megatron", "tokenizer": str(tokenizer), "target_bytes": 1}
    made.export(to=tmp_path / "one", **how)
    made.export(to=tmp_path / "two", workers=3, **how)
    far = made.export(to="memory://megatron-of-a-test", **how)
    monkeypatch.setattr(encode, "PIECE_BYTES", 50)
    monkeypatch.setattr(layout, "_BLOCK", 3)
    found = made.export(to=tmp_path / "three", **how)
    assert len(found.files) == 6 and documents_of(found) == in_ids(tokenizer, KEPT)
    one, two, three = (tiny.contents(tmp_path / name) for name in ("one", "two", "three"))
    for some in (one, two, three):
        del some["_export.json"]
    assert one == two == three
    system, _ = fs.connect(far.target)
    assert all(system.cat_file(f"/megatron-of-a-test/{name}") == one[name] for name in far.names)


def test_the_same_again_writes_nothing_and_others_are_refused(tokenizer: Path, tmp_path: Path) -> None:
    made = poolsieve.run(long_enough(docs(tmp_path / "docs", TEXTS)), tmp_path / "out")
    first = made.export(format="megatron", tokenizer=str(tokenizer))
    data = Path(first.target, "data")
    stamps = {path: path.stat().st_mtime_ns for path in data.iterdir()}
    again = tiny.bpe(tmp_path / "by another name")
    assert made.export(format="megatron", tokenizer=str(again)).files == first.files
    assert {path: path.stat().st_mtime_ns for path in data.iterdir()} == stamps
    (data / "train-00000-of-00001.idx").unlink()
    assert made.export(format="megatron", tokenizer=str(tokenizer)).files == first.files
    other = tiny.bpe(tmp_path / "other", size=350)
    for how in ({"tokenizer": str(other)}, {"tokenizer": str(tokenizer), "eos": "<|pad|>"}):
        with pytest.raises(PlanError, match="other settings: add --replace"):
            made.export(format="megatron", **how)
    made.export(format="megatron", tokenizer=str(other), replace=True)
    made.export(replace=True)
    assert [path.name for path in Path(first.target).rglob("*") if path.is_file() and path.name != "_export.json"] == [
        "train-00000-of-00001.jsonl.zst"
    ]


def test_a_file_that_changes_meanwhile_is_not_written(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from poolsieve.dataflow.export.megatron import write

    run(long_enough(docs(tmp_path / "docs", TEXTS)), tmp_path / "out")
    whole = write.encode

    def cut(*args: Any) -> Any:
        os.truncate(tmp_path / "docs" / "2.jsonl", 100)
        return whole(*args)

    monkeypatch.setattr(write, "encode", cut)
    with pytest.raises(PoolsieveError, match=r"2\.jsonl has (changed|become shorter)"):
        export(str(tmp_path / "out"), format="megatron", tokenizer=str(tokenizer))
    assert not list((tmp_path / "out" / "export").rglob("train*"))


def test_killed_at_random_moments_and_resumed(tokenizer: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    run(long_enough(docs(tmp_path / "docs", [["a b c", "d e f g"]] * 20)), out)
    how: dict[str, Any] = {"format": "megatron", "tokenizer": str(tokenizer), "target_bytes": 1}
    whole = export(out, target=tmp_path / "whole", **how)
    code = (
        "import sys, time\nfrom poolsieve.dataflow.export.megatron import write\n"
        "from poolsieve.dataflow.export.export import export\nencode = write.encode\n"
        "def slow(*args):\n    time.sleep(0.05)\n    return encode(*args)\nwrite.encode = slow\n"
        "export(sys.argv[1], target=sys.argv[2], format='megatron', tokenizer=sys.argv[3], target_bytes=1)\n"
    )
    target, seen = tmp_path / "killed", set()
    for files in (3, 9, 15):
        process = forked.Popen([sys.executable, "-c", code, out, str(target), str(tokenizer)])
        started = time.monotonic()
        while len(list(target.rglob("train*.bin"))) < files and time.monotonic() - started < 100:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = list(target.rglob("train*"))
        seen.add(len(there))
        assert not (target / "_export.json").exists()
        assert all(path.read_bytes() == (tmp_path / "whole" / "data" / path.name).read_bytes() for path in there)
    assert len(seen) == 3
    with pytest.raises(PlanError, match="unfinished export"):
        export(out, target=target, **{**how, "eos": "<|pad|>"})
    assert export(out, target=target, **how).files == whole.files
    done = {name: data for name, data in tiny.contents(target).items() if fs.TEMPORARY not in name}
    del done["_export.json"]
    assert {**done, "_export.json": b""} == {**tiny.contents(tmp_path / "whole"), "_export.json": b""}


# Bad input


def test_wrong_plans_are_refused_before_a_byte(tokenizer: Path, tmp_path: Path) -> None:
    texts = poolsieve.run(long_enough(docs(tmp_path / "docs", TEXTS)), tmp_path / "texts")
    ids = poolsieve.run(first_is_low(chunks(tmp_path / "ids", "uint16")[0]), tmp_path / "chunks")
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "tokenizer.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    name = {"tokenizer": str(tokenizer)}
    for match, made, how in (
        ("add --tokenizer T", texts, {}),
        ("no place for scores", texts, {**name, "scores": True}),
        ("--tokenizer is for texts", ids, name),
        ("--eos is for texts", ids, {"eos": "</s>"}),
        ("no place for scores", ids, {"scores": ["low"]}),
        ("is no tokenizer", texts, {"tokenizer": str(slow)}),
        ("holds no tokenizer", texts, {"tokenizer": str(tmp_path / "empty")}),
        ("no folder /nowhere/at/all", texts, {"tokenizer": "/nowhere/at/all"}),
        ("no token '</end>'", texts, {**name, "eos": "</end>"}),
        ("no end-of-text token", texts, {"tokenizer": str(tiny.bpe(tmp_path / "endless", end=None))}),
        ("no row was dropped", texts, {**name, "reason": "x"}),
    ):
        with pytest.raises(PlanError, match=match):
            made.export(format="megatron", **how)
        assert not (Path(made.url) / "export").exists()
    with pytest.raises(PlanError, match="--tokenizer is for --format megatron"):
        texts.export(**name)
    with pytest.raises(PlanError, match="megatron"):
        texts.export(format="megaton")


def test_a_pool_without_texts(tokenizer: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add(archive, "0.jpg", b"\xff\xd8\xff\xe0")
    pq.write_table(pa.table({"caption": ["a"]}), tmp_path / "a.parquet")
    for i, pool in enumerate(
        (Pool.webdataset(f"{tmp_path}/a.tar", image="jpg"), Pool.parquet(f"{tmp_path}/a.parquet"))
    ):
        made = poolsieve.run(everything(pool), tmp_path / str(i))
        with pytest.raises(PlanError, match=r"the pool has no role 'text'.*--text"):
            made.export(format="megatron", tokenizer=str(tokenizer))


def test_the_command(tokenizer: Path, tmp_path: Path) -> None:
    run(long_enough(docs(tmp_path / "docs", TEXTS)), tmp_path / "out")
    done = CliRunner().invoke(
        main, ["export", str(tmp_path / "out"), "--format", "megatron", "--tokenizer", str(tokenizer)]
    )
    assert done.exit_code == 0, done.output
    tokens = sum(map(len, in_ids(tokenizer, KEPT)))
    assert f"{len(KEPT)} rows, {tokens:,} tokens in 2 files" in done.output
    refused = CliRunner().invoke(main, ["export", str(tmp_path / "out"), "--format", "megatron"])
    assert refused.exit_code != 0 and "--tokenizer" in refused.output


# Round trips


@given(st.lists(st.lists(st.integers(0, 65535), min_size=1, max_size=20), max_size=30), st.integers(1, 9))
def test_any_sequences_as_datatrove_writes_them(documents: list[list[int]], at_once: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        made = Sequences()
        for start in range(0, len(documents), at_once):
            made.add(np.array([len(ids) for ids in documents[start : start + at_once]], np.int64))
        for dtype, size in (("uint16", 2), ("int32", 4)):
            with sink(f"{name}/mine.idx") as file:
                made.write(file, dtype)
            Path(name, "mine.bin").write_bytes(np.array([i for ids in documents for i in ids], dtype).tobytes())
            assert theirs(Path(name), documents, size)[1] == Path(name, "mine.idx").read_bytes()
            assert read(f"{name}/mine") == documents
    assert {stored_as(name) for name in ("uint8", "int8", "uint16", "int16", "uint32", "uint64")} <= set(layout.CODES)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.lists(st.none() | st.text(max_size=30), max_size=8), min_size=1, max_size=3), st.integers(1, 200))
def test_any_texts_come_back(shards: list[list[str | None]], target_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        tokenizer = tiny.bpe(Path(name, "tokenizer"))
        run(everything(docs(Path(name, "docs"), shards)), f"{name}/out")
        found = export(f"{name}/out", format="megatron", tokenizer=str(tokenizer), target_bytes=target_bytes)
        texts = [text for shard in shards for text in shard]
        assert documents_of(found) == in_ids(tokenizer, texts)
        assert found.rows + sum(file.blank or 0 for file in found.files) == len(texts)
