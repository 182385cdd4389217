"""What a process keeps of a run: made once, by run, and only of a few runs."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from poolsieve.dataflow.store.session import REMEMBERED, Session, ending, session_of


def test_a_value_is_made_once_even_by_many_threads() -> None:
    session, made = Session(), []

    def make() -> int:
        time.sleep(0.05)
        made.append(1)
        return len(made)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: session.once("x", make), range(8)))
    assert found == [1] * 8


def test_what_fails_is_tried_again_by_the_next_who_asks() -> None:
    session = Session()

    def fails() -> int:
        raise OSError("not now")

    with pytest.raises(OSError, match="not now"):
        session.once("x", fails)
    assert session.once("x", lambda: 7) == 7


def test_a_slow_value_holds_up_nobody_who_wants_another() -> None:
    session, started, go_on = Session(), threading.Event(), threading.Event()

    def slow() -> int:
        started.set()
        assert go_on.wait(10)
        return 1

    with ThreadPoolExecutor(1) as threads:
        coming = threads.submit(session.once, "model", slow)
        assert started.wait(10)
        assert session.once("listing", lambda: 2) == 2
        go_on.set()
        assert coming.result() == 1


def test_runs_do_not_share_and_the_oldest_is_forgotten() -> None:
    runs = [f"run-{i}" for i in range(REMEMBERED + 1)]
    for i, run in enumerate(runs):
        assert session_of(run).once("x", lambda i=i: i) == i  # type: ignore[misc]
    assert session_of(runs[-1]).once("x", lambda: -1) == REMEMBERED
    assert session_of(runs[0]).once("x", lambda: -1) == -1


def test_a_run_that_ends_is_forgotten_whatever_ended_it() -> None:
    with pytest.raises(KeyError), ending("failed") as session:
        session.once("x", lambda: 1)
        raise KeyError
    assert session_of("failed").once("x", lambda: 2) == 2


def test_a_run_that_goes_on_is_never_forgotten() -> None:
    with ending("long") as session:
        session.once("x", lambda: 1)
        for i in range(REMEMBERED + 3):
            session_of(f"other-{i}")
        with ending("long"):
            assert session_of("long").once("x", lambda: 2) == 1
        assert session_of("long").once("x", lambda: 3) == 1
    assert session_of("long").once("x", lambda: 4) == 4
