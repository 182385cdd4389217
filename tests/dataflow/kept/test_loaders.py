"""The original pool, streamed by the real loaders: what comes out is what the ledger kept."""

from __future__ import annotations

import functools
import io
import itertools
import json
import pickle
import shutil
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.kept.kept import Kept
from poolsieve.filters import Keep, col
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import decide, derived_uid, run
from tests.dataflow.exported import add, tar_recipe, uid_of, write_tar
from tests.dataflow.kept.runs import decided, recipe, said, write

wds = pytest.importorskip("webdataset")
datasets = pytest.importorskip("datasets")
torch_data = pytest.importorskip("torch.utils.data")

from tests.dataflow.kept.workers import Rows, by_key, json_uid, whole  # noqa: E402  (loads torch)

LOADERS = [("fork", 2), ("spawn", 1)]
"""How workers start, and how many: two that divide the rows; one that imports everything anew, which takes seconds."""


def loader_of(stream: Any, method: str | None, workers: int, batch: int) -> Any:
    return torch_data.DataLoader(
        stream, batch_size=batch, num_workers=workers, collate_fn=whole, multiprocessing_context=method
    )


# Runs that many tests read and none changes.


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of Parquet files whose uids are names."""
    return decided(tmp_path_factory.mktemp("named"), lambda i: f"row-{i}")


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of Parquet files in which every uid stands twice."""
    return decided(tmp_path_factory.mktemp("paired"), lambda i: f"{i // 2}")


@pytest.fixture(scope="module")
def hexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of Parquet files whose uids are 32 hexadecimal digits."""
    return decided(tmp_path_factory.mktemp("hexed"), lambda i: f"{i:032x}")


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tars of 40, 30 and 50 samples."""
    folder = tmp_path_factory.mktemp("tars")
    for shard, n in enumerate((40, 30, 50)):
        write_tar(folder / f"{shard:05d}.tar", shard, n)
    return folder


@pytest.fixture(scope="module")
def archived(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of them."""
    out = tmp_path_factory.mktemp("archived") / "out"
    run(tar_recipe(tars), out)
    return out


@pytest.fixture(autouse=True)
def arrow_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps what it reads and filters in a folder of the test's."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")


def kept_uids(out: Path) -> list[str]:
    ledger = said(out)
    return [uid for uid, keep in zip(ledger["uid"], ledger["keep"], strict=True) if keep]


def urls_of(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.glob("*.tar"))]


# WebDataset


@pytest.mark.parametrize("how", [{}, {"by": "key"}, {"uid": "json:uid"}])
@pytest.mark.parametrize("decode", [False, True])
def test_webdataset_streams_the_kept_samples(tars: Path, archived: Path, how: Any, decode: bool) -> None:
    """By uid and by key, before and after decoding, shuffled over all shards."""
    kept = poolsieve.kept(archived)
    stream = wds.WebDataset(urls_of(tars), shardshuffle=False).shuffle(1000)
    stream = (stream.decode() if decode else stream).select(kept.webdataset(**how))
    found = [json_uid(sample) for sample in stream]
    assert sorted(found) == sorted(kept_uids(archived)) and 0 < len(found) < 120


@pytest.mark.parametrize(("method", "workers", "by"), [("fork", 2, "uid"), ("fork", 5, "key"), ("spawn", 1, "key")])
def test_webdataset_in_workers(tars: Path, archived: Path, method: str, workers: int, by: str) -> None:
    """More workers than tars, too: what WebDataset itself then asks for is `empty_check=False`."""
    kept = poolsieve.kept(archived, scores=["text.word_count"])
    stream = wds.WebDataset(urls_of(tars), shardshuffle=False, empty_check=False)
    stream = stream.select(kept.webdataset(by=by)).map(json_uid)
    found = [uid for batch in loader_of(stream, method, workers, 7) for uid in batch]
    assert sorted(found) == sorted(kept_uids(archived))
    assert set(kept.score("text.word_count", found)) == {5.0}


def test_a_stream_that_repeats_shards_is_filtered_alike(tars: Path, archived: Path) -> None:
    kept = poolsieve.kept(archived)
    stream = wds.WebDataset(urls_of(tars), resampled=True, shardshuffle=False)
    stream = stream.select(kept.webdataset(by="key")).map(json_uid)
    found = [uid for uid, _ in zip(stream, range(500), strict=False)]
    assert len(found) == 500 and set(found) <= set(kept_uids(archived))


def test_tars_without_uids_are_told_by_key(tars: Path, tmp_path: Path) -> None:
    pool = Pool.webdataset(f"{tars}/*.tar", text="txt")
    run(pool | Keep(col("text").word_count() >= 3, reason="caption.too_short"), tmp_path / "out")
    kept = poolsieve.kept(tmp_path / "out")
    stream = wds.WebDataset(urls_of(tars), shardshuffle=False).select(kept.webdataset())
    assert [json_uid(sample) for sample in stream] == [
        uid_of(s, i) for s, n in enumerate((40, 30, 50)) for i in range(n) if i % 3
    ]
    with pytest.raises(PlanError, match=r"no uids of its own.*by='key'"):
        kept.webdataset(by="uid")
    assert kept(derived_uid("00000.tar", 1)) and not kept(derived_uid("00000.tar", 0))


def test_twins_are_told_apart_by_key(tmp_path: Path) -> None:
    """One uid, two samples, of which one was dropped."""
    folder = tmp_path / "tars"
    folder.mkdir()
    with tarfile.open(folder / "a.tar", "w") as archive:
        for i in range(6):
            add(archive, f"{i}.txt", b"word " * (5 if i % 2 else 1))
            add(archive, f"{i}.json", json.dumps({"uid": f"{i // 2}"}).encode())
    run(tar_recipe(folder), tmp_path / "out")
    kept = poolsieve.kept(tmp_path / "out")
    stream = wds.WebDataset(urls_of(folder), shardshuffle=False)
    assert [one["__key__"] for one in stream.select(kept.webdataset(by="key"))] == ["1", "3", "5"]
    stream = wds.WebDataset(urls_of(folder), shardshuffle=False)
    assert [one["__key__"] for one in stream.select(kept.webdataset())] == list("012345")
    assert kept.twins() == 3


def test_keys_as_uids_and_tars_that_were_copied(tars: Path, tmp_path: Path) -> None:
    pool = Pool.webdataset(f"{tars}/*.tar", uid="__key__", text="txt")
    run(pool | Keep(col("text").word_count() >= 3, reason="caption.too_short"), tmp_path / "out")
    copy = shutil.copytree(tars, tmp_path / "copy")
    for how, root in (({}, None), ({"by": "key"}, str(copy))):
        kept = poolsieve.kept(tmp_path / "out", root=root)
        stream = wds.WebDataset([f"pipe:cat {url}" for url in urls_of(copy)], shardshuffle=False).select(
            kept.webdataset(**how)
        )
        assert [sample["__key__"] for sample in stream] == kept_uids(tmp_path / "out")
    elsewhere = wds.WebDataset(urls_of(copy), shardshuffle=False)
    with pytest.raises(PlanError, match=r"none of the pool's 3 files.*root="):
        list(elsewhere.select(poolsieve.kept(tmp_path / "out").webdataset(by="key")))


def test_a_pool_of_metadata_chooses_samples_of_tars(tars: Path, tmp_path: Path) -> None:
    """DataComp's case: rows were judged as Parquet, and tars are what one trains on."""
    folder = tmp_path / "metadata"
    folder.mkdir()
    rows = [(uid_of(s, i), i) for s, n in enumerate((40, 30, 50)) for i in range(n)]
    pq.write_table(
        pa.table({"uid": [u for u, _ in rows], "i": [i for _, i in rows], "text": ["x"] * 120}), folder / "a.parquet"
    )
    run(
        Pool.parquet(f"{folder}/*.parquet", uid="uid", text="text") | Keep(col("i") < 10, reason="i.large"),
        tmp_path / "out",
    )
    kept = poolsieve.kept(tmp_path / "out")
    found = [
        json_uid(one)
        for one in wds.WebDataset(urls_of(tars), shardshuffle=False).select(kept.webdataset(uid="json:uid"))
    ]
    assert found == [uid_of(s, i) for s in range(3) for i in range(10)]
    with pytest.raises(PlanError, match="where in a sample is its uid"):
        kept.webdataset()
    with pytest.raises(PlanError, match="by='key' is for pools of tars"):
        kept.webdataset(by="key")
    with pytest.raises(PlanError, match="'uid' or 'key'"):
        kept.webdataset(by="name")


def test_numbers_and_nested_fields_are_uids_as_the_pool_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "tars"
    folder.mkdir()
    uids: list[Any] = [7, 10**25, "é", 2.5, "x.y", None]
    with tarfile.open(folder / "a.tar", "w") as archive:
        for i, uid in enumerate(uids):
            add(archive, f"{i}.txt", b"word " * (5 if i != 4 else 1))
            add(archive, f"{i}.json", json.dumps({"a": {"b": uid}}).encode())
    pool = Pool.webdataset(f"{folder}/*.tar", uid="json:a.b", text="txt")
    run(pool | Keep(col("text").word_count() >= 3, reason="caption.too_short"), tmp_path / "out")
    kept = poolsieve.kept(tmp_path / "out")
    stream = wds.WebDataset(urls_of(folder), shardshuffle=False).select(kept.webdataset())
    # The last has no uid in its JSON: its row has a derived one, which no loader knows.
    assert [one["__key__"] for one in stream] == ["0", "1", "2", "3"]
    by_key = wds.WebDataset(urls_of(folder), shardshuffle=False).select(kept.webdataset(by="key"))
    assert [one["__key__"] for one in by_key] == ["0", "1", "2", "3", "5"]


def test_tuples_come_after_the_choice(tars: Path, archived: Path) -> None:
    kept = poolsieve.kept(archived)
    for by in ("uid", "key"):
        stream = (
            wds.WebDataset(urls_of(tars), shardshuffle=False).to_tuple("txt", "json").select(kept.webdataset(by=by))
        )
        with pytest.raises(PlanError, match="before the steps that make tuples"):
            next(iter(stream))


# datasets


def load(kept: Kept, **how: Any) -> Any:
    return datasets.load_dataset("parquet", data_files=list(kept.urls), split="train", **how)


@pytest.mark.parametrize("format", [None, "arrow", "numpy"])
@pytest.mark.parametrize(("streaming", "batched"), [(False, False), (False, True), (True, False), (True, True)])
def test_datasets_filters_rows_and_batches(named: Path, streaming: bool, batched: bool, format: str | None) -> None:
    if format == "arrow" and not streaming:
        batched = True  # `datasets` 5.1 itself has no way through single rows of a table in this format
    kept = poolsieve.kept(named)
    table = load(kept, streaming=streaming)
    table = table if format is None else table.with_format(format)
    how = {"batched": True, "batch_size": 13} if batched else {}
    found = table.filter(kept.by("uid"), **how).with_format(None)
    assert [row["uid"] for row in found] == kept_uids(named)


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_takes_the_predicate_over_a_column(hexed: Path, streaming: bool) -> None:
    kept = poolsieve.kept(hexed)
    table = load(kept, streaming=streaming)
    assert [row["uid"] for row in table.filter(kept, input_columns="uid")] == kept_uids(hexed)
    assert [row["uid"] for row in table.filter(kept.mask, input_columns="uid", batched=True)] == kept_uids(hexed)


def test_datasets_selects_by_position(paired: Path) -> None:
    kept = poolsieve.kept(paired)
    table = load(kept)
    assert table.select(kept.indices(kept.urls, len(table)))["text"][:] == [
        row for row, keep in zip(table["text"][:], said(paired)["keep"], strict=True) if keep
    ]


def test_datasets_reuses_what_it_filtered_until_the_decision_changes(tmp_path: Path) -> None:
    """Its cache goes by a hash of the pickled function."""
    out = decided(tmp_path, lambda i: f"row-{i}")
    table = load(poolsieve.kept(out))
    first, second = (table.filter(poolsieve.kept(out).by("uid"))._fingerprint for _ in range(2))
    decide(recipe(tmp_path / "pool", 0.2), out)
    third = table.filter(poolsieve.kept(out).by("uid"))
    assert first == second != third._fingerprint and third["uid"][:] == kept_uids(out)


@pytest.mark.parametrize(("method", "workers"), [*LOADERS, ("fork", 5)])
def test_datasets_in_workers(named: Path, method: str, workers: int) -> None:
    """With more workers than files, too."""
    kept = poolsieve.kept(named)
    stream = load(kept, streaming=True).filter(kept.by("uid"), batched=True, batch_size=8)
    loader = loader_of(stream, method, workers, 8)
    assert sorted(row["uid"] for batch in loader for row in batch) == sorted(kept_uids(named))


def test_datasets_goes_on_where_it_was(named: Path) -> None:
    kept = poolsieve.kept(named)
    whole_epoch = kept_uids(named)
    stream = load(kept, streaming=True).filter(kept.by("uid"), batched=True, batch_size=8)
    rows = iter(stream)
    first = [next(rows)["uid"] for _ in range(11)]
    again = load(kept, streaming=True).filter(poolsieve.kept(named).by("uid"), batched=True, batch_size=8)
    again.load_state_dict(stream.state_dict())
    assert first + [row["uid"] for row in again] == whole_epoch


def test_columns_of_whole_numbers_are_their_digits(hexed: Path, tmp_path: Path) -> None:
    """As the pool's reader has them, where uids are not 32 hexadecimal digits; there no number can be one."""
    out = decided(tmp_path, lambda i: i * 7)
    kept = poolsieve.kept(out)
    for batched in (False, True):
        found = load(kept, streaming=True).filter(kept.by("uid"), batched=batched)
        assert [str(row["uid"]) for row in found] == kept_uids(out)
    other = poolsieve.kept(hexed).by("size")
    for row in ({"size": 3}, {"size": [3, 4]}, {"size": b"x"}, {"size": [b"x"]}):
        with pytest.raises(PlanError, match="text"):
            other(row)


def test_a_column_that_is_not_there_is_named(named: Path) -> None:
    for row in ({"id": "x", "text": "y"}, pa.table({"id": ["x"]})):
        with pytest.raises(PlanError, match=r"no column 'uid'.*id"):
            poolsieve.kept(named).by("uid")(row)


def test_a_pool_without_uids_has_none_to_go_by(tmp_path: Path) -> None:
    run(recipe(write(tmp_path / "pool", lambda i: f"row-{i}"), uid=None), tmp_path / "out")
    kept = poolsieve.kept(tmp_path / "out")
    with pytest.raises(PlanError, match=r"no uids of its own.*kept\.rows\(file\)"):
        kept.by("uid")
    table = load(kept)
    keep = said(tmp_path / "out")["keep"]
    assert table.select(kept.indices(kept.urls, len(table)))["uid"][:] == [
        f"row-{i}" for i, one in enumerate(keep) if one
    ]


def test_a_stream_of_which_nothing_is_kept_says_so(named: Path) -> None:
    """As where the wrong column is named; once, and not where some row is kept."""
    kept = poolsieve.kept(named)
    wrong = kept.by("text")
    nothing = {"text": [f"row-{i}." for i in range(200)]}
    with pytest.warns(UserWarning, match=r"none of the first \d+ rows was kept.*is column 'text' what the run had"):
        assert not np.any(wrong(nothing))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not np.any(wrong(nothing))
        for i in range(150):
            kept.by("uid")({"uid": f"row-{i}"})


# torch


class Table(torch_data.Dataset):
    """Somebody's own table of several files."""

    def __init__(self, files: list[str]) -> None:
        self.rows = [row for file in files for row in pq.read_table(file).to_pylist()]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Any:
        return self.rows[i]


def texts_kept(out: Path) -> list[str]:
    rows = [row for file in poolsieve.kept(out).urls for row in pq.read_table(file)["text"].to_pylist()]
    return [row for row, keep in zip(rows, said(out)["keep"], strict=True) if keep]


@pytest.mark.parametrize(
    ("method", "workers", "exact"),
    [(None, 0, False), (None, 0, True), ("fork", 2, False), ("fork", 5, True), ("spawn", 1, True)],
)
def test_torch_streams_the_kept_rows(named: Path, paired: Path, method: str | None, workers: int, exact: bool) -> None:
    """By uid, and by key, which tells repeated uids apart."""
    out = paired if exact else named
    kept = poolsieve.kept(out)
    rows = Rows(list(kept.urls))
    stream = kept.stream(rows, keep=functools.partial(by_key, kept)) if exact else kept.stream(rows, "uid")
    loader = loader_of(stream, method, workers, 9)
    assert sorted(row["text"] for batch in loader for row in batch) == sorted(texts_kept(out))
    assert isinstance(stream, torch_data.IterableDataset)


def rows_of(kept: Kept, kind: str) -> Any:
    return load(kept, streaming=True) if kind == "datasets" else Rows(list(kept.urls))


@pytest.mark.parametrize("kind", ["datasets", "own"])
@pytest.mark.parametrize("taken", [0, 1, 17, 1000])
def test_a_stream_goes_on_where_its_state_was_taken(named: Path, kind: str, taken: int) -> None:
    """By the state of the rows' iterable, or by drawing as many rows again; the epoch after that is whole."""
    kept, uids = poolsieve.kept(named), kept_uids(named)
    stream = kept.stream(rows_of(kept, kind), "uid")
    first = [row["uid"] for row in itertools.islice(stream, taken)]
    state = json.loads(json.dumps(stream.state_dict()))
    again = poolsieve.kept(named).stream(rows_of(kept, kind), "uid")
    again.load_state_dict(state)
    assert again.state_dict() == state or kind == "datasets"
    assert first + [row["uid"] for row in again] == uids
    again.set_epoch(1)
    assert [row["uid"] for row in again] == uids
    for wrong in ({}, {"other": 1}, None):
        with pytest.raises(PlanError, match="no state of this stream"):
            again.load_state_dict(wrong)


@pytest.mark.parametrize("kind", ["datasets", "own"])
@pytest.mark.parametrize("workers", [0, 2])
def test_torchdata_goes_on_in_the_middle_of_an_epoch(named: Path, kind: str, workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    kept = poolsieve.kept(named)

    def loader() -> Any:
        stream = kept.stream(rows_of(kept, kind), "uid")
        return stateful.StatefulDataLoader(stream, batch_size=4, num_workers=workers, collate_fn=whole)

    want = [row["uid"] for batch in loader() for row in batch]
    assert sorted(want) == sorted(kept_uids(named))
    stopped = loader()
    first = [row["uid"] for batch in itertools.islice(stopped, 3) for row in batch]
    again = loader()
    again.load_state_dict(stopped.state_dict())
    assert first + [row["uid"] for batch in again for row in batch] == want


def test_torch_takes_a_subset_of_a_table(paired: Path) -> None:
    kept = poolsieve.kept(paired)
    table = Table(list(kept.urls))
    subset = torch_data.Subset(table, kept.indices(kept.urls, len(table)))
    loader = loader_of(subset, "fork", 2, 9)
    assert [row["text"] for batch in loader for row in batch] == texts_kept(paired)


def test_torch_samples_by_weight(named: Path) -> None:
    """Weights of a score make a sampler over the subset: the better a row, the more often."""
    kept = poolsieve.kept(named, scores=["clip"])
    table = Table(list(kept.urls))
    subset = torch_data.Subset(table, kept.indices(kept.urls, len(table)))
    weights = kept.weight([row["uid"] for row in subset], "clip", temperature=0.1)
    sampler = torch_data.WeightedRandomSampler(weights.tolist(), 4000)
    drawn = np.bincount(list(sampler), minlength=len(subset))
    assert np.corrcoef(drawn, weights)[0, 1] > 0.9


def test_streams_need_one_way_to_tell_rows(named: Path) -> None:
    kept = poolsieve.kept(named)
    for how in ({}, {"uid": "uid", "keep": bool}):
        with pytest.raises(PlanError, match="one of the two is wanted"):
            kept.stream([], **how)


def test_predicates_pickle(archived: Path) -> None:
    kept = poolsieve.kept(archived)
    for made in (kept.by("uid"), kept.webdataset(), kept.webdataset(by="key")):
        assert pickle.loads(pickle.dumps(made)) == made and len(pickle.dumps(made)) < 2000
    sample = {"__key__": "k", "__url__": "u", "json": io.BytesIO(b"")}
    with pytest.raises(PlanError, match="was decoded to BytesIO"):
        kept.webdataset()(sample)
