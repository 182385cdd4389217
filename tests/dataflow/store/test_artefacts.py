"""An artefact is made by one of all who need it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from poolsieve.dataflow import leases
from poolsieve.dataflow.store import artefacts


@dataclass(frozen=True)
class Needs:
    """A scorer, as far as this goes."""

    artefact: str

    def build(self) -> None:
        """Marks what has an artefact."""


def made_by(n: int, out: Path, make: object) -> list[BaseException | None]:
    """What came of n who need it at once."""
    scorer, ends = Needs(f"{out}/artefacts/ngrams-1.parquet"), list[BaseException | None]()

    def one() -> None:
        try:
            artefacts.make_once(scorer, str(out), make)  # type: ignore[arg-type]
            ends.append(None)
        except BaseException as error:  # noqa: BLE001  (looked at below)
            ends.append(error)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return ends


def test_one_makes_it_and_the_others_wait(tmp_path: Path) -> None:
    begun = []

    def make() -> None:
        begun.append(threading.get_ident())
        time.sleep(0.3)
        (tmp_path / "artefacts").mkdir(exist_ok=True)
        (tmp_path / "artefacts" / "ngrams-1.parquet").touch()

    assert made_by(5, tmp_path, make) == [None] * 5
    assert len(begun) == 1
    assert not (tmp_path / "leases" / "artefact-ngrams-1.parquet").exists()


def test_what_stops_the_one_is_told_and_another_one_makes_it(tmp_path: Path) -> None:
    tried = []

    def make() -> None:
        tried.append(1)
        if len(tried) == 1:
            raise MemoryError("too small a machine")
        (tmp_path / "artefacts").mkdir()
        (tmp_path / "artefacts" / "ngrams-1.parquet").touch()

    ends = made_by(3, tmp_path, make)
    assert sorted(type(end).__name__ for end in ends) == ["MemoryError", "NoneType", "NoneType"]
    assert len(tried) == 2


def test_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "WAIT_SECONDS", 0.0)
    folder = f"{tmp_path}/leases/artefact-ngrams-1.parquet"
    with leases.held(folder, leases.SOLE, "another run"):
        (end,) = made_by(1, tmp_path, lambda: None)
    assert isinstance(end, leases.InUse) and "another run" in str(end)
