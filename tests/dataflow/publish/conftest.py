"""A loopback Hub, a run, and a way to publish it with a card that says no more than it must."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow.publish.contents import Item, Subject
from poolsieve.dataflow.publish.publish import Publication, Wishes
from poolsieve.dataflow.publish.publish import publish as publish_run
from poolsieve.filters import Keep, col
from tests.hub_server import HubServer

NAME = "org/kept"
ROWS = 400
"""Of a file of the pool."""


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Five files, each of texts that differ in length: a rule's limit moves through all of them but the last one."""
    folder = tmp_path / "pool"
    folder.mkdir()
    for number in range(5):
        write_file(folder / f"{number}.parquet", number)
    return folder


def write_file(path: Path, number: int) -> None:
    rows = range(number * ROWS, (number + 1) * ROWS)
    texts = [f"text {i:08x} " + "word " * (9 if number == 4 else i % 10) for i in rows]
    pq.write_table(pa.table({"uid": [f"{i:032x}" for i in rows], "text": texts}), path)


def decided(out: Path, pool: Path, least: int = 5) -> Any:
    """A whole run that keeps texts of at least so many words."""
    made = poolsieve.Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text")
    return poolsieve.run(made | Keep(col("text").word_count() >= least, reason="text.short"), out)


@pytest.fixture
def out(tmp_path: Path, pool: Path) -> Path:
    decided(tmp_path / "out", pool)
    return tmp_path / "out"


def card(subject: Subject, before: str | None) -> Sequence[Item]:
    configs = "".join(
        f"- config_name: {table.name}\n  data_files:\n  - split: train\n    path: {table.pattern}\n"
        for table in subject.tables
    )
    text = f"---\nlicense: {subject.license}\nconfigs:\n{configs}---\n{subject.index.rows} rows\n"
    return [Item.of("README.md", text.encode())]


@pytest.fixture
def publish(hub: HubServer) -> Callable[..., Publication]:
    """Publishes to the loopback Hub; what it says is kept in `publish.said`."""

    def made(out: Path | str, repo: str = NAME, **how: Any) -> Publication:
        wishes = Wishes(**{"repo": repo, "license": "cc0-1.0", "token": "hf_write", "endpoint": hub.url, **how})
        return publish_run(str(out), wishes, card, say=said.append)

    said: list[str] = []
    made.said = said  # type: ignore[attr-defined]
    return made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short here; what a server asks for is kept."""
    from poolsieve.dataflow.publish import patience

    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
