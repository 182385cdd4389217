"""The ledger as a second configuration: read back by `datasets`, and compared with the ledger itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import pytest

import poolsieve
from poolsieve.dataflow.publish.ledger_files import ledger_table
from poolsieve.dataflow.publish.publish import Publication
from poolsieve.dataflow.store.out import OutFolder
from tests.dataflow.publish.conftest import NAME, ROWS
from tests.hub_server import HubServer


@pytest.mark.parametrize("target", [1, 10**9])
def test_every_row_of_the_pool_with_decision_and_scores(out: Path, tmp_path: Path, target: int) -> None:
    run = OutFolder(str(out))
    table = ledger_table(run, str(tmp_path / "files"), target)
    assert len(table.items) == (5 if target == 1 else 1) and table.rows == 5 * ROWS
    assert all((tmp_path / "files" / item.path).stat().st_size == item.size for item in table.items)
    found = datasets.load_dataset(
        "parquet", data_dir=str(tmp_path / "files" / "scores"), split="train", cache_dir=str(tmp_path)
    )
    assert found.column_names == ["path", "row", "uid", "keep", "reason", "text.word_count"]
    assert found.to_list() == run.ledger().to_pylist()


def test_the_same_decision_gives_the_same_bytes(out: Path, tmp_path: Path) -> None:
    run = OutFolder(str(out))
    first, second = (ledger_table(run, str(tmp_path / name)) for name in ("a", "b"))
    assert [item.sha256 for item in first.items] == [item.sha256 for item in second.items]


def test_files_of_another_cut_go_and_a_second_writer_takes_none_away(out: Path, tmp_path: Path) -> None:
    run, folder = OutFolder(str(out)), tmp_path / "files"
    ledger_table(run, str(folder))
    table = ledger_table(run, str(folder), 1)
    assert {f"scores/{path.name}" for path in (folder / "scores").iterdir()} == {item.path for item in table.items}
    assert table.memory and table.memory > table.rows * len(f"{0:032x}")
    with ThreadPoolExecutor(2) as threads:
        at_once = [threads.submit(ledger_table, run, str(folder), 1) for _ in range(6)]
        while not all(one.done() for one in at_once):
            assert all((folder / item.path).exists() for item in table.items)
    assert all(one.result() == table for one in at_once)


def test_it_is_published_beside_the_rows(hub: HubServer, out: Path, publish: Callable[..., Publication]) -> None:
    publish(out, extras=("scores",))
    files = hub.repos[NAME].files()
    assert "scores/train-00000-of-00001.parquet" in files
    assert publish(out, extras=("scores",)).commits == 0
    poolsieve.open(out).remove_older()
    publish(out)
    assert "scores/train-00000-of-00001.parquet" not in hub.repos[NAME].files()
