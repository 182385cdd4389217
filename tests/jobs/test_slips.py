"""What somebody does who meets poolsieve for the first time: odd names, odd arguments, other folders than meant."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import poolsieve
from poolsieve.dataflow import fs, leases
from poolsieve.dataflow.export import export as exporting
from poolsieve.dataflow.export.index import read_index
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.filters import Top
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import write_pool

FILE = """
from poolsieve.dataflow import Pool
from poolsieve.filters import Top

def recipe(pool="pool", fraction=0.3):
    return Pool.parquet(pool + "/*.parquet", uid="uid", text="text") | Top("clip", fraction=fraction)
"""


def recipe_of(pool: Path | str, fraction: float = 0.3) -> poolsieve.Recipe:
    return poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Top("clip", fraction=fraction)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that no test may change."""
    folder = tmp_path_factory.mktemp("made")
    poolsieve.run(recipe_of(write_pool(folder / "pool", (40, 30))), folder / "out")
    return folder


@pytest.fixture
def small(made: Path, tmp_path: Path) -> Path:
    """A run of a test's own."""
    shutil.copytree(made / "out", tmp_path / "out")
    return tmp_path


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_this_folder(made: Path, name: str) -> None:
    for asked in (
        lambda: poolsieve.open(name),
        lambda: poolsieve.run(recipe_of(made / "pool"), name),
        lambda: poolsieve.export(made / "out", to=name),
        lambda: poolsieve.export(made / "out", uids=name),
        lambda: poolsieve.run(recipe_of(made / "pool"), made / "out", cuts=name),
        lambda: poolsieve.report(made / "out", truth=name),
    ):
        with pytest.raises(PlanError, match="is empty"):
            asked()


def test_local_urls_are_paths(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    for url in ("out", "file://out", f"file://{made}/out", f"file:{made}/out", f"local://{made}/out/"):
        assert poolsieve.open(url).url == f"{made}/out"


@pytest.mark.parametrize(
    ("out", "said"),
    [("out/manifest.json", "is a file"), ("bogus://x", "^can't open bogus://x/manifest.json: Protocol not known")],
)
def test_what_is_no_folder_is_called_so(made: Path, monkeypatch: pytest.MonkeyPatch, out: str, said: str) -> None:
    monkeypatch.chdir(made)
    with pytest.raises(PlanError, match=said):
        poolsieve.open(out)


def test_paths_are_taken_wherever_names_are(small: Path, made: Path) -> None:
    out = poolsieve.open(small / "out")
    cuts = small / "out" / "decisions" / out.decision / "cuts.json"
    assert poolsieve.decide(recipe_of(made / "pool", 0.1), small / "out", cuts=cuts).counts.kept == out.counts.kept
    uids = small / "uids.txt"
    uids.write_text("\n".join(out.ledger(["uid"]).column("uid").to_pylist()[:3]))
    assert poolsieve.export(small / "out", to=small / "to", uids=uids).rows == 3
    with pytest.raises(PlanError, match="can't be read"):
        poolsieve.report(small / "out", truth=small / "nope.parquet")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"workers": True}, "workers=True"),
        ({"beam_flags": "--x"}, "give a list of texts"),
        ({"beam_flags": [5]}, "give a list of texts"),
        ({"beam_flags": ["fraction=0.1"]}, "one argument too many"),
        ({"max_error_rate": -1}, "share of the rows"),
        ({"max_error_rate": 2}, "share of the rows"),
        ({"max_error_rate": "0.1"}, "share of the rows"),
        ({"max_error_rate": float("nan")}, "share of the rows"),
        ({"truth": "nope.parquet"}, "nope.parquet"),
    ],
)
def test_arguments_of_run_are_checked_before_work(made: Path, tmp_path: Path, how: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        poolsieve.run(recipe_of(made / "pool"), tmp_path / "out", **how)
    assert not (tmp_path / "out" / "rows").exists()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"scores": "clip"}, r"give a list of names, as \['clip'\]"),
        ({"target_bytes": 0}, "at least one byte"),
        ({"target_bytes": "1"}, "at least one byte"),
        ({"pool": "pool"}, "give a Pool"),
        ({"recipe": "r.py"}, "give a Recipe"),
        ({"reason": 5}, "one glob"),
    ],
)
def test_arguments_of_export_are_checked_before_work(
    made: Path, tmp_path: Path, how: dict[str, Any], said: str
) -> None:
    with pytest.raises(PlanError, match=said):
        poolsieve.export(made / "out", to=str(tmp_path / "to"), **how)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("room", ["", "decisions", "runs", "scores", "rows/x", "leases", "artefacts", "decisions/x/y"])
def test_no_export_goes_where_out_keeps_its_own_files(small: Path, room: str) -> None:
    (small / "link").symlink_to(small / "out")
    for out in (small / "out", small / "link"):
        with pytest.raises(PlanError, match="keeps its own files"):
            poolsieve.export(small / "out", to=out / room)
    assert poolsieve.export(small / "out", to=small / "out" / "export" / "two").rows
    assert poolsieve.export(small / "out", to=small / "out" / "decisions-2024").rows


def test_an_out_that_a_link_puts_into_the_pool_is_refused(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool" / "a", (20,))
    (tmp_path / "pool" / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pool" / "out")
    whole = poolsieve.Pool.parquet(f"{tmp_path}/pool/**/*.parquet", uid="uid", text="text") | Top("clip", fraction=0.3)
    poolsieve.run(whole, tmp_path / "link")  # nothing of OUT is there yet
    with pytest.raises(PlanError, match="lies inside the pool"):
        poolsieve.run(whole, tmp_path / "link")


def test_a_decision_stays_over_the_pool_that_was_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pool(tmp_path / "pool", (40, 30))
    write_pool(tmp_path / "other" / "pool", (40, 30), seed=7)
    (tmp_path / "r.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    first = poolsieve.run("r.py", "out")
    monkeypatch.chdir(tmp_path / "other")  # where "pool" is another one
    with pytest.warns(UserWarning, match="the decision is over those"):
        second = poolsieve.decide("../r.py", "../out", params={"fraction": 0.1})
    assert second.manifest.pool == first.manifest.pool and second.counts.kept == 7
    assert poolsieve.export("../out").rows == 7
    with pytest.warns(UserWarning, match="the decision is over those"):
        again = poolsieve.decide(None, "../out", params={"fraction": 0.3})
    assert again.manifest.pool == first.manifest.pool and again.counts == first.counts


def test_keys_do_not_go_where_out_says(made: Path) -> None:
    from poolsieve.dataflow.passes.plan import prepare_stored

    mine = poolsieve.Pool.parquet("elsewhere/*.parquet", uid="uid", text="text", storage_options={"key": "mine"})
    plan = prepare_stored(mine | Top("clip", fraction=0.2), str(made / "out"))
    assert plan.job.files.storage_options == {} and plan.job.pool.storage_options == {}


def test_a_recipe_that_begins_with_a_byte_order_mark_is_its_file(small: Path, made: Path) -> None:
    recipe = small / "r.py"
    recipe.write_bytes(b"\xef\xbb\xbf" + FILE.encode())
    poolsieve.run(recipe, small / "out", params={"pool": str(made / "pool")})
    assert poolsieve.decide(None, small / "out", params={"fraction": 0.1}).counts.kept == 7
    recipe.write_bytes(b"\xef\xbb\xbf" + FILE.encode().replace(b"0.3", b"0.4"))
    with pytest.raises(PlanError, match="says something else"):
        poolsieve.decide(None, small / "out")


def test_leases_that_can_not_be_read_are_not_passed_over(small: Path, made: Path) -> None:
    folder = small / "out" / "leases"
    (folder / "sole-x.json").mkdir(parents=True)
    with pytest.raises(leases.InUse, match=r"remove .*sole-x\.json"):
        OutFolder(str(small / "out")).remove_older()
    (folder / "sole-x.json").rmdir()
    (folder / "work-x.json").write_bytes(b"")  # as a kind that its name says: others may work beside it
    assert poolsieve.decide(recipe_of(made / "pool"), small / "out").counts.kept
    with pytest.raises(leases.InUse):
        OutFolder(str(small / "out")).remove_older()


def test_a_file_in_the_place_of_the_leases_is_named(small: Path, made: Path) -> None:
    (small / "out" / "leases").write_text("mine")
    for work in (
        lambda: poolsieve.decide(recipe_of(made / "pool"), small / "out"),
        lambda: poolsieve.report(small / "out"),
        lambda: poolsieve.open(small / "out").remove_older(),
    ):
        with pytest.raises(PlanError, match="leases is a file"):
            work()
    assert (small / "out" / "leases").read_text() == "mine"


def test_an_export_that_was_stopped_for_long_leaves_the_next_one_alone(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that was stopped (Ctrl-Z) at its end, until its lease was taken for dead and the folder replaced."""
    out, to = str(small / "out"), str(small / "to")
    finish = exporting._Work._finish

    def later(self: Any, inputs: Any, parts: Any) -> Any:
        monkeypatch.setattr(exporting._Work, "_finish", finish)
        for name in fs.names(f"{to}/.poolsieve-leases"):
            os.remove(f"{to}/.poolsieve-leases/{name}")
        poolsieve.export(out, to=to, replace=True)
        return finish(self, inputs, parts)

    monkeypatch.setattr(exporting._Work, "_finish", later)
    with pytest.raises(leases.LeaseLost):
        poolsieve.export(out, to=to, reason="*")
    found = read_index(to)
    assert found is not None and found.select is None
    assert all((Path(to) / file.name).stat().st_size == file.bytes for file in found.files)


@pytest.mark.parametrize("name", ["json.py", "wave.py", "pyarrow.py", "poolsieve.py", "notes.txt"])
def test_an_include_does_not_take_the_place_of_another_module(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x = 1")
    (tmp_path / "r.py").write_text(FILE)
    with pytest.raises(PlanError, match=r"another module|is a \.py file"):
        poolsieve.plan(tmp_path / "r.py", tmp_path / "out", include=[str(tmp_path / name)])
    with pytest.raises(PlanError, match="give a list of files"):
        poolsieve.plan(tmp_path / "r.py", tmp_path / "out", include=str(tmp_path / name))


def test_a_recipe_may_be_a_local_url(small: Path, made: Path) -> None:
    (small / "r.py").write_text(FILE)
    poolsieve.run(f"file://{small}/r.py", small / "out", params={"pool": str(made / "pool")})
    assert poolsieve.decide(None, small / "out", params={"fraction": 0.1}).counts.kept == 7


def test_a_forked_process_does_not_give_back_its_parents_lease(tmp_path: Path) -> None:
    with leases.held(str(tmp_path / "leases"), leases.SOLE, "parent") as lease:
        child = os.fork()
        if child == 0:
            assert lease is not None
            lease.give_back()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert lease is not None and os.path.exists(lease.url)
    assert not os.path.exists(lease.url)
