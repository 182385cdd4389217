"""Models in memory: room for some, and nobody waits for ever."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from poolsieve.scoring_models.feeding.feed import never
from poolsieve.scoring_models.panels.shelf import Shelf, shelf_of


class Loads:
    """What was loaded, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def of(self, name: str) -> Any:
        def load() -> str:
            self.names.append(name)
            return f"model {name}"

        return load


def take(shelf: Shelf, loads: Loads, name: str, size: int = 10) -> str:
    with shelf.model(name, size, loads.of(name), never) as model:
        return str(model)


def test_what_fits_stays_and_the_longest_unused_goes() -> None:
    shelf, loads = Shelf(25), Loads()
    assert [take(shelf, loads, name) for name in "abab"] == [f"model {name}" for name in "abab"]
    assert loads.names == ["a", "b"]
    take(shelf, loads, "a")
    take(shelf, loads, "c")  # b was used last before a
    take(shelf, loads, "a")
    assert loads.names == ["a", "b", "c"]
    take(shelf, loads, "b")
    assert loads.names == ["a", "b", "c", "b"]


def test_one_model_is_loaded_whatever_it_takes() -> None:
    shelf, loads = Shelf(1), Loads()
    assert [take(shelf, loads, name, 100) for name in "abb"] == ["model a", "model b", "model b"]
    assert loads.names == ["a", "b"]


def test_a_load_that_fails_leaves_its_room() -> None:
    shelf, loads = Shelf(10), Loads()

    def fails() -> str:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"), shelf.model("a", 10, fails, never):
        pass
    assert take(shelf, loads, "b") == "model b"
    assert take(shelf, loads, "a") == "model a"


def test_whoever_waits_for_room_is_served_and_one_that_is_wanted_stays() -> None:
    """Six threads go through three models, and there is room for one: each is loaded about once, not once a thread."""
    shelf, loads = Shelf(10), Loads()
    inside, wrong = set[str](), list[str]()
    start = threading.Barrier(6)

    def work() -> None:
        start.wait()
        for name in "abc":
            with shelf.model(name, 10, loads.of(name), never) as model:
                if inside:
                    wrong.append(name)
                inside.add(name)
                threading.Event().wait(0.02)
                assert model == f"model {name}"
                inside.discard(name)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong
    assert sorted(set(loads.names)) == ["a", "b", "c"]
    assert len(loads.names) < 12


def test_a_wait_can_be_ended() -> None:
    shelf, loads = Shelf(10), Loads()

    def stop() -> None:
        raise KeyboardInterrupt

    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with shelf.model("a", 10, loads.of("a"), never):
            held.set()
            go.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    for name in ("a", "b"):  # the same model, and another, for which there is no room
        with pytest.raises(KeyboardInterrupt), shelf.model(name, 10, loads.of(name), stop):
            pass
    go.set()
    holder.join(20)
    assert take(shelf, loads, "b") == "model b"


def test_there_is_a_shelf_for_each_device() -> None:
    torch = pytest.importorskip("torch")
    assert shelf_of(torch.device("cpu")) is shelf_of(torch.device("cpu"))
    assert 1 << 27 < shelf_of(torch.device("cpu")).room < 1 << 45
