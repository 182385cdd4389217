"""`poolsieve.kept`: it says of every row what the ledger says, by uid and by key, for good."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.kept import index as index_module
from poolsieve.dataflow.kept.index import Index
from poolsieve.dataflow.kept.kept import Kept
from poolsieve.filters import Keep, any_of, col
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import decide, run
from tests.dataflow.kept.runs import decided, recipe, said, write

LABELS = {
    "hexadecimal": lambda i: f"{i * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}",
    "counted": lambda i: f"{i:032x}",
    "upper": lambda i: f"{i << 64 | 5:032X}",
    "names": lambda i: f"crawl/é-{i}",
    "numbers": lambda i: i,
    "mixed": lambda i: f"{i:032x}" if i % 2 else f"{i}",
}


@pytest.mark.parametrize("scores", [(), ("clip", "size")])
@pytest.mark.parametrize("kind", LABELS)
def test_it_says_what_the_ledger_says(tmp_path: Path, kind: str, scores: tuple[str, ...]) -> None:
    out = decided(tmp_path, LABELS[kind])
    ledger, kept = said(out), poolsieve.kept(out, scores=scores)
    keep = ledger["keep"]
    assert 0 < sum(keep) < 150 and len(kept) == sum(keep)
    assert kept.mask(ledger["uid"]).tolist() == [uid in kept for uid in ledger["uid"]] == keep
    assert [(path, row) in kept for path, row in zip(ledger["path"], ledger["row"], strict=True)] == keep
    assert kept.count(ledger["uid"]).tolist() == [int(one) for one in keep] and kept.twins() == 0
    for name in scores:
        at = {uid: value for uid, value, one in zip(ledger["uid"], ledger[name], keep, strict=True) if one}
        assert kept.score(name, list(at)).tolist() == list(at.values())
        assert [kept.score(name, uid) for uid in at] == list(at.values())


def test_uids_that_were_never_there_are_not_kept(tmp_path: Path) -> None:
    out = decided(tmp_path, LABELS["hexadecimal"])
    for kept in (poolsieve.kept(out), poolsieve.kept(out, scores=["clip"])):
        others = ["", "x", "0" * 32, "f" * 32, "0" * 31, "é" * 16, *(LABELS["hexadecimal"](i) for i in range(150, 400))]
        assert not kept.mask(others).any() and not any(kept(uid) for uid in others)
        assert kept.mask([None, None]).tolist() == [False, False] and kept.mask([]).tolist() == []


@pytest.mark.parametrize("made", [list, tuple, np.array, pa.array, lambda x: pa.chunked_array([x[:3], x[3:]])])
def test_many_uids_in_any_array(tmp_path: Path, made: Any) -> None:
    out = decided(tmp_path, LABELS["names"])
    ledger, kept = said(out), poolsieve.kept(out)
    assert kept.mask(made(ledger["uid"])).tolist() == ledger["keep"]
    assert kept.mask(pa.array(ledger["uid"], pa.large_string()).dictionary_encode()).tolist() == ledger["keep"]


def test_a_uid_that_repeats_is_kept_if_any_of_its_rows_was(tmp_path: Path) -> None:
    """Keys tell the twins apart, and `twins` says how many rows the two disagree on."""
    out = decided(tmp_path, lambda i: f"{i // 3:032x}")
    for kept in (poolsieve.kept(out), poolsieve.kept(out, scores=["clip"])):
        ledger = said(out)
        good = {uid for uid, keep in zip(ledger["uid"], ledger["keep"], strict=True) if keep}
        times = [
            sum(k for u, k in zip(ledger["uid"], ledger["keep"], strict=True) if u == uid) for uid in ledger["uid"]
        ]
        assert kept.mask(ledger["uid"]).tolist() == [uid in good for uid in ledger["uid"]] != ledger["keep"]
        assert kept.count(ledger["uid"]).tolist() == times == [kept.count(uid) for uid in ledger["uid"]]
        assert max(times) > 1
        assert kept.twins() == sum(
            uid in good and not keep for uid, keep in zip(ledger["uid"], ledger["keep"], strict=True)
        )
        assert [(p, r) in kept for p, r in zip(ledger["path"], ledger["row"], strict=True)] == ledger["keep"]
    first = {}
    for uid, keep, clip in zip(ledger["uid"], ledger["keep"], ledger["clip"], strict=True):
        if keep:
            first.setdefault(uid, clip)
    assert {uid: kept.score("clip", uid) for uid in first} == first


@pytest.mark.parametrize("kind", ["hexadecimal", "names"])
def test_a_list_that_is_sorted_in_pieces_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    out = decided(tmp_path, LABELS[kind])
    whole = poolsieve.kept(out, scores=["clip"], cache=tmp_path / "a").index
    monkeypatch.setattr(index_module, "BUDGET", 100)
    pieces = poolsieve.kept(out, scores=["clip"], cache=tmp_path / "b").index
    assert np.array_equal(whole.pairs, pieces.pairs) and np.array_equal(whole.scores["clip"], pieces.scores["clip"])


def test_one_and_many_are_looked_up_alike() -> None:
    """Also where many share their high half, at both ends, and in an empty list."""
    r = np.random.default_rng(0)
    for n in (0, 1, 2, 50):
        pairs = np.zeros(n, index_module.PAIR)
        pairs["f0"], pairs["f1"] = r.integers(0, 4, n), r.integers(0, 6, n)
        made = Index(pairs=np.sort(pairs, order=("f0", "f1")))
        asked = np.array([(a, b) for a in range(5) for b in range(7)], index_module.PAIR)
        first, counts = made.places(asked)
        one = [made.place(int(a), int(b)) for a, b in asked]
        assert counts.tolist() == [count for _, count in one] == [int((pairs == pair).sum()) for pair in asked]
        assert [p for p, c in one if c] == first[counts > 0].tolist()


def test_weights_have_the_mean_one(tmp_path: Path) -> None:
    out = decided(tmp_path, LABELS["names"])
    ledger, kept = said(out), poolsieve.kept(out, scores=["clip", "size"])
    keep, clip = np.array(ledger["keep"]), np.array(ledger["clip"], np.float64)
    for lowest, sign in ((False, 1), (True, -1)):
        found = kept.weight(ledger["uid"], "clip", temperature=0.25, lowest=lowest)
        plain = np.exp(sign * clip[keep] / 0.25)
        assert np.allclose(found[keep], plain / plain.mean()) and not found[~keep].any()
        assert np.isclose(found[keep].mean(), 1)
    uid = ledger["uid"][int(np.flatnonzero(keep)[0])]
    assert kept.weight(uid, "clip", temperature=0.25, lowest=True) == pytest.approx(found[keep][0])
    assert np.isfinite(kept.weight(ledger["uid"], "size", temperature=1e-3)).all()
    for bad in (0, -1, float("nan"), "1"):
        with pytest.raises(PlanError, match="a number above 0"):
            kept.weight(uid, "clip", temperature=bad)


def test_a_kept_row_without_a_score_has_no_weight(tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    folder.mkdir()
    pq.write_table(pa.table({"uid": ["a", "b"], "x": [1.0, float("nan")], "text": ["b", "c"]}), folder / "a.parquet")
    either = any_of(
        Keep(col("x") > 0, reason="x.low"), Keep(col("text").word_count() > 0, reason="x.no"), reason="x.none"
    )
    run(Pool.parquet(f"{folder}/*.parquet", uid="uid", text="text") | either, tmp_path / "out")
    kept = poolsieve.kept(tmp_path / "out", scores=["x"])
    assert np.isnan(kept.score("x", "b")) and kept.score("x", ["b", "a"]).tolist()[1] == 1.0
    with pytest.raises(PlanError, match="no finite score 'x'"):
        kept.weight("a", "x")


def test_positions_in_files(tmp_path: Path) -> None:
    """Files may be named by path, URL, or as the ledger does; indices are of the files in the order given."""
    out = decided(tmp_path, LABELS["names"])
    ledger, kept, folder = said(out), poolsieve.kept(out), tmp_path / "pool"
    names = [f"part-{i}.parquet" for i in range(3)]
    of = {
        name: [r for p, r, k in zip(ledger["path"], ledger["row"], ledger["keep"], strict=True) if p == name and k]
        for name in names
    }
    for name in names:
        for spelled in (name, str(folder / name), f"file://{folder / name}", os.path.relpath(folder / name)):
            assert kept.rows(spelled).tolist() == of[name]
    assert kept.rows(f"pipe:cat '{folder}/part-1.parquet' | cat").tolist() == of["part-1.parquet"]
    assert kept.urls == tuple(str(folder / name) for name in names)
    assert kept.indices(names, 150).tolist() == np.flatnonzero(ledger["keep"]).tolist()
    assert kept.indices(names[::-1], 150).tolist() == [
        *of[names[2]],
        *(30 + r for r in of[names[1]]),
        *(80 + r for r in of[names[0]]),
    ]
    assert kept.indices({names[2]: 30, names[0]: 70}, 100).tolist() == [*of[names[2]], *(30 + r for r in of[names[0]])]
    assert kept((names[0], np.int64(of[names[0]][0]))) and not kept((names[0], 10**6)) and not kept((names[0], -1))
    table = pa.concat_tables(pq.read_table(path) for path in kept.urls)
    assert table.take(kept.indices(kept.urls, len(table))).column("uid").to_pylist() == [
        u for u, k in zip(ledger["uid"], ledger["keep"], strict=True) if k
    ]


def test_tables_that_are_not_the_files_are_refused(tmp_path: Path) -> None:
    kept = poolsieve.kept(decided(tmp_path, LABELS["names"]))
    with pytest.raises(PlanError, match=r"these files have 150 rows, and the table has 151"):
        kept.indices(kept.urls, 151)
    with pytest.raises(PlanError, match=r"row \d+ of part-0.parquet was kept, and it should have 3"):
        kept.indices({"part-0.parquet": 3}, 3)
    with pytest.raises(PlanError, match="give a list of files"):
        kept.indices("part-0.parquet", 70)
    with pytest.raises(PlanError, match=r"'other.parquet' is none of the pool's 3 files.*root="):
        kept.rows("other.parquet")
    with pytest.raises(PlanError, match="is none of the pool's"):
        kept.rows("/elsewhere/part-0.parquet")


def test_a_pool_that_was_copied_is_found_by_root(tmp_path: Path) -> None:
    kept = poolsieve.kept(decided(tmp_path, LABELS["names"]), root="https://mirror.example/p/")
    assert kept.urls[0] == "https://mirror.example/p/part-0.parquet"
    plain = kept.rows("part-0.parquet").tolist()
    assert kept.rows(kept.urls[0]).tolist() == kept.rows(kept.urls[0] + "?download=true").tolist() == plain
    assert kept.rows("pipe:curl -s https://mirror.example/p/part-0.parquet").tolist() == plain
    with pytest.raises(PlanError, match="none of the pool's"):
        kept.rows(str(tmp_path / "pool" / "part-0.parquet"))


def test_a_union_has_its_parts_paths(tmp_path: Path) -> None:
    pools = {
        name: Pool.parquet(f"{write(tmp_path / name, LABELS['names'])}/*.parquet", uid="uid", text="text")
        for name in "ab"
    }
    run(Pool.union(**pools) | Keep(col("text").word_count() >= 5, reason="text.short"), tmp_path / "out")
    kept, ledger = poolsieve.kept(tmp_path / "out", root={"b": "s3://far"}), said(tmp_path / "out")
    assert [(p, r) in kept for p, r in zip(ledger["path"], ledger["row"], strict=True)] == ledger["keep"]
    assert kept.rows(str(tmp_path / "a" / "part-1.parquet")).tolist() == kept.rows("s3://far/part-1.parquet").tolist()
    for root, message in ((tmp_path, "for its parts a, b"), ({"c": "x"}, "names 'c'")):
        with pytest.raises(PlanError, match=message):
            poolsieve.kept(tmp_path / "out", root=str(root) if isinstance(root, Path) else root)


def test_a_sample_keeps_none_of_the_others(tmp_path: Path) -> None:
    folder = write(tmp_path / "pool", LABELS["names"])
    pool = Pool.parquet(f"{folder}/*.parquet", uid="uid", text="text").sample(fraction=0.5)
    run(pool | Keep(col("text").word_count() >= 3, reason="text.short"), tmp_path / "out")
    kept, ledger = poolsieve.kept(tmp_path / "out"), said(tmp_path / "out")
    keys = {(p, r) for p, r, k in zip(ledger["path"], ledger["row"], ledger["keep"], strict=True) if k}
    everywhere = {(f"part-{i}.parquet", row) for i, n in enumerate((70, 50, 30)) for row in range(n)}
    assert {key for key in everywhere if kept(key)} == keys and 0 < len(keys) < 100
    with pytest.raises(PlanError, match="of a sample and of damaged files"):
        kept.indices(kept.urls, 150)
    assert len(kept.indices({"part-0.parquet": 70, "part-1.parquet": 50, "part-2.parquet": 30}, 150)) == len(keys)


def test_it_pickles_small_and_alike_and_changes_with_the_decision(tmp_path: Path) -> None:
    out = decided(tmp_path, LABELS["names"])
    kept = poolsieve.kept(out, scores=["clip"])
    before = pickle.dumps(kept)
    asked = kept.mask(said(out)["uid"])
    assert len(before) < 2000 and pickle.dumps(kept) == before == pickle.dumps(poolsieve.kept(out, scores=["clip"]))
    again = pickle.loads(before)
    assert isinstance(again, Kept) and again == kept and hash(again) == hash(kept)
    assert again.mask(said(out)["uid"]).tolist() == asked.tolist()
    decide(recipe(tmp_path / "pool", 0.2), out)
    assert pickle.dumps(poolsieve.kept(out, scores=["clip"])) != before and poolsieve.kept(out, scores=["clip"]) != kept


def ask(kept: Kept, uids: list[str]) -> list[bool]:
    return kept.mask(uids).tolist()


@pytest.mark.parametrize("scores", [(), ("clip",)])
def test_other_processes_answer_alike(tmp_path: Path, scores: tuple[str, ...]) -> None:
    """Spawned ones, which unpickle it before this process has opened anything."""
    out = decided(tmp_path, LABELS["hexadecimal"])
    kept, ledger = poolsieve.kept(out, scores=scores), said(out)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(ask, [(kept, ledger["uid"])] * 3, chunksize=1)
    assert found == [ledger["keep"]] * 3


def test_what_is_made_at_once_is_made_once(tmp_path: Path, cache: Path) -> None:
    out = decided(tmp_path, LABELS["names"])
    made: list[Index] = []
    threads = [threading.Thread(target=lambda: made.append(poolsieve.kept(out).index)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4 and len(list((cache / "kept").iterdir())) == 1


def test_a_later_decision_changes_nothing(tmp_path: Path) -> None:
    out = decided(tmp_path, LABELS["hexadecimal"])
    kept, ledger = poolsieve.kept(out), said(out)
    decide(recipe(tmp_path / "pool", 0.1), out)
    again = poolsieve.kept(out, decision=kept.decision, scores=["clip"])
    for one in (kept, again, pickle.loads(pickle.dumps(kept))):
        assert one.mask(ledger["uid"]).tolist() == ledger["keep"]
        assert one.rows("part-0.parquet").tolist() == [
            r
            for p, r, k in zip(ledger["path"], ledger["row"], ledger["keep"], strict=True)
            if k and p == "part-0.parquet"
        ]
    assert len(poolsieve.kept(out)) < len(kept) == len(again)
    assert poolsieve.open(out).kept(scores=["clip"]) == poolsieve.kept(out, scores=["clip"])


def test_a_decision_that_was_pruned_is_named(tmp_path: Path) -> None:
    out = decided(tmp_path, LABELS["hexadecimal"])
    opened, fresh, scored = poolsieve.kept(out), poolsieve.kept(out), poolsieve.kept(out, scores=["clip"])
    ledger = said(out)
    assert opened.mask(ledger["uid"]).tolist() == ledger["keep"]
    decide(recipe(tmp_path / "pool", 0.1), out)
    poolsieve.open(out).remove_older()
    assert opened.mask(ledger["uid"]).tolist() == ledger["keep"]
    for call in (
        lambda: fresh(ledger["uid"][0]),
        lambda: scored(ledger["uid"][0]),
        lambda: opened.rows("part-0.parquet"),
    ):
        with pytest.raises(PoolsieveError, match=f"decision {opened.decision} is gone from .*poolsieve prune"):
            call()
    with pytest.raises(PlanError, match=f"has no decision '{opened.decision}'"):
        poolsieve.kept(out, decision=opened.decision)


def test_wrong_arguments_are_said_in_one_message(tmp_path: Path) -> None:
    out = decided(tmp_path, LABELS["hexadecimal"])
    kept = poolsieve.kept(out)
    for bad, message in (
        (b"ab", "b'ab' is bytes: decode it first"),
        (5, "5 is int: give the text that the ledger has"),
        (None, "NoneType"),
        (["a"], "is list"),
        ("\ud800", "no UTF-8"),
        (("part-0.parquet",), "is no key of a row"),
        (("part-0.parquet", 1.0), "is no key of a row"),
    ):
        with pytest.raises(PlanError, match=message):
            kept(bad)
    for bad, message in (
        ("ab", "of one ask kept"),
        ([b"ab"], "these are binary: decode"),
        ([1, 2], "these are int64"),
        (np.array([1.5]), "these are double"),
        (["a", 1], "a list or an array of uids"),
        ({"uid": ["a"]}, "is dict"),
        (iter(["a"]), "list_iterator"),
    ):
        with pytest.raises(PlanError, match=message):
            kept.mask(bad)
    with pytest.raises(PlanError, match=r"scores=\['clip'\]"):
        kept.score("clip", "a" * 32)
    with pytest.raises(PlanError, match="was not kept, so it has no score"):
        poolsieve.kept(out, scores=["clip"]).score("clip", "a" * 32)
    for scores, message in (
        (["clap"], "no score 'clap'.*clip"),
        ("clip", r"scores=\['dfn'\]"),
        (["keep"], "no score 'keep'"),
    ):
        with pytest.raises(PlanError, match=message):
            poolsieve.kept(out, scores=scores)


def test_a_run_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"no manifest\.json"):
        poolsieve.kept(tmp_path)


def test_a_run_that_was_moved(tmp_path: Path) -> None:
    """The folder may have another name; who knows the old one alone is told, and not of `prune`."""
    out = decided(tmp_path, LABELS["hexadecimal"])
    before, uids = pickle.dumps(poolsieve.kept(out)), said(out)["uid"]
    answers = poolsieve.kept(out).mask(uids).tolist()
    out.rename(tmp_path / "moved")
    there = poolsieve.kept(tmp_path / "moved")
    assert there.mask(uids).tolist() == answers and len(there.rows("part-0.parquet"))
    for ask in (lambda kept: kept("a" * 32), lambda kept: kept.rows("part-0.parquet")):
        with pytest.raises(PoolsieveError, match=rf"no run in \S+out any more.*decision='{there.decision}'"):
            ask(pickle.loads(before))


def test_a_pool_that_has_grown(tmp_path: Path) -> None:
    """A training goes on with the decision that it began with, in this process and in the next one."""
    out = decided(tmp_path, LABELS["names"])
    kept, uids = poolsieve.kept(out), said(out)["uid"]
    first, positions = kept.mask(uids).tolist(), kept.rows("part-1.parquet").tolist()
    table = pq.read_table(tmp_path / "pool" / "part-0.parquet")
    more = table.set_column(0, "uid", pa.array([f"more-{i}" for i in range(len(table))]))
    pq.write_table(more, tmp_path / "pool" / "part-3.parquet", row_group_size=20)
    run(recipe(tmp_path / "pool"), out)
    grown, again = poolsieve.kept(out), poolsieve.kept(out, decision=kept.decision)
    assert len(grown.urls) == 4 and len(grown) > len(kept)
    for one in (kept, again, pickle.loads(pickle.dumps(kept))):
        assert one == kept and one.mask(uids).tolist() == first and not one("more-3") and len(one.urls) == 3
        assert one.rows("part-1.parquet").tolist() == positions
        with pytest.raises(PlanError, match="none of the pool's 3 files"):
            one.rows("part-3.parquet")


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("harm", ["short", "unsorted", "header", "bit"])
def test_a_damaged_list_is_named(tmp_path: Path, harm: str, earlier: bool) -> None:
    """By its hash, which the manifest has of the current decision, and the summary of another one."""
    out = decided(tmp_path, LABELS["hexadecimal"])
    path, decision = next(out.glob("decisions/*/subset.npy")), poolsieve.kept(out).decision
    if earlier:
        decide(recipe(tmp_path / "pool", 0.1), out)
    if harm == "unsorted":
        np.save(path, np.load(path)[::-1])
    elif harm == "bit":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-16] if harm == "short" else b"x" + data[1:])
    with pytest.raises(PoolsieveError, match=r"subset\.npy is damaged.*poolsieve decide"):
        poolsieve.kept(out, decision=decision)("a" * 32)


def test_a_list_is_looked_through_once_a_machine(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by every worker; but again when the file is another, and where nothing can be noted."""
    out = decided(tmp_path, LABELS["hexadecimal"])
    looked: list[str] = []
    hashed = index_module._sha256
    monkeypatch.setattr(index_module, "_sha256", lambda path: looked.append(path) or hashed(path))
    for _ in range(3):
        assert not poolsieve.kept(out)("f" * 32)
    assert len(looked) == 1 and len(list(cache.rglob("good-*"))) == 1
    os.utime(looked[0], ns=(1, 1))
    assert not poolsieve.kept(out)("f" * 32) and len(looked) == 2
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert not poolsieve.kept(out, cache=tmp_path / "file" / "below")("f" * 32)
    assert len(looked) == 4


def test_an_older_run_without_the_hash_is_read(tmp_path: Path) -> None:
    out = decided(tmp_path, LABELS["hexadecimal"])
    ledger, manifest = said(out), json.loads((out / "manifest.json").read_text())
    assert manifest["subset"]["bytes"] == next(out.glob("decisions/*/subset.npy")).stat().st_size
    del manifest["subset"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    kept = poolsieve.kept(out)
    assert kept.fixed.sha256 == "" and kept.mask(ledger["uid"]).tolist() == ledger["keep"]


def test_a_damaged_cache_is_named(tmp_path: Path, cache: Path) -> None:
    out = decided(tmp_path, LABELS["hexadecimal"])
    assert not poolsieve.kept(out, scores=["clip"])("f" * 32)
    path = next(cache.rglob("uids.npy"))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(PoolsieveError, match=r"cache is damaged.*remove it"):
        poolsieve.kept(out, scores=["clip"])("a" * 32)


def test_a_damaged_or_lost_ledger_is_named(tmp_path: Path) -> None:
    out = decided(tmp_path, LABELS["names"])
    kept = poolsieve.kept(out)
    path = sorted(out.glob("decisions/*/ledger/part-0-*.parquet"))[0]
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"?" + data[101:])
    for call in (lambda: kept("x"), lambda: kept.rows("part-0.parquet")):
        with pytest.raises(PoolsieveError, match="is not the file that the decision was closed with"):
            call()
    path.unlink()
    for call in (lambda: kept("x"), lambda: kept.rows("part-0.parquet")):
        with pytest.raises(PoolsieveError, match=r"part-0-.* is missing"):
            call()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    out = decided(tmp_path, LABELS["names"])
    (tmp_path / "file").write_text("")
    with pytest.raises(PlanError, match="cache= or POOLSIEVE_CACHE"):
        poolsieve.kept(out, cache=tmp_path / "file")("x")


def test_nothing_kept_is_nothing_kept(tmp_path: Path) -> None:
    for kind in ("hexadecimal", "names"):
        (tmp_path / kind).mkdir()
        out = decided(tmp_path / kind, LABELS[kind], fraction=0)
        for kept in (poolsieve.kept(out), poolsieve.kept(out, scores=["clip"])):
            assert len(kept) == 0 and not kept.mask(said(out)["uid"]).any() and kept.urls == ()
            assert kept.indices(["part-2.parquet"], 30).tolist() == [] and not kept("a")


def test_it_loads_neither_beam_nor_torch(tmp_path: Path) -> None:
    out = decided(tmp_path, LABELS["names"])
    code = f"""
import sys, poolsieve
kept = poolsieve.kept({str(out)!r}, scores=["clip"])
kept("x"), kept.mask(["x"]), kept.by("uid")
print([name for name in ("apache_beam", "torch", "datasets", "webdataset") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
