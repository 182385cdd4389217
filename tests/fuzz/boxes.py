"""Boxes: each risky piece of work in a process of its own, so that an abort or a hang is a result and not the end.

Python's fork server has Beam, pyarrow and poolsieve loaded once; a box is a fork of it, which takes milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

LIMIT_SECONDS = 150.0
"""So long may a piece of work take that takes a second or two on an idle machine."""

LIMIT_BYTES = 12 << 30
"""Of address space in a box: a length that lies must not take the whole machine."""

_ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a box.

    Attributes:
        how: `ok`; `refused`, by an error that is meant for the user; `fell`, by any other exception; `died`, by a
            signal that we did not send; `hung`, past the limit; `killed`, by us.
        value: what the work returned.
        text: the error's text, or the traceback, or what was printed before the end.
    """

    how: str
    value: Any = None
    text: str = ""

    def __str__(self) -> str:
        return f"{self.how} {' | '.join(self.text.strip().splitlines()[-8:])[-900:]}"

    @property
    def is_fall(self) -> bool:
        return self.how in ("fell", "died", "hung")


class Box:
    """Work that goes on in its own process, in a new session, with its output in `log`."""

    def __init__(self, work: Callable[..., Any], *args: Any, log: Path) -> None:
        self.log, self._killed = log, False
        self._answer, theirs = _server().Pipe(duplex=False)
        self._process = _server().Process(target=_inside, args=(theirs, work, args, str(log)), daemon=False)
        self._process.start()
        theirs.close()

    def kill(self) -> None:
        """kill -9, now."""
        self._killed = True
        self._process.kill()

    def is_running(self) -> bool:
        return self._process.is_alive()

    def outcome(self, limit: float = LIMIT_SECONDS) -> Outcome:
        """Waits for the end; kills what takes longer than the limit."""
        how, value = "", None
        try:
            if self._answer.poll(limit):
                how, value = self._answer.recv()
            elif self._process.is_alive():
                how = "hung"
                self._process.kill()
        except EOFError:
            pass
        self._process.join(30)
        code = self._process.exitcode
        self._answer.close()
        if how:
            text = str(value) if how in ("refused", "fell") else self._printed() if how == "hung" else ""
            return Outcome(how=how, value=value if how == "ok" else None, text=text)
        return Outcome(how="killed" if self._killed else "died", text=f"exit code {code}: {self._printed()}")

    def _printed(self) -> str:
        return self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""


def boxed(work: Callable[..., Any], *args: Any, log: Path, limit: float = LIMIT_SECONDS) -> Outcome:
    """The outcome of one piece of work."""
    return Box(work, *args, log=log).outcome(limit)


def kill_after(box: Box, seconds: float) -> None:
    """kill -9 once the seconds are over, unless the work is done by then."""
    end = time.monotonic() + seconds
    while box.is_running() and time.monotonic() < end:
        time.sleep(0.005)
    if box.is_running():
        box.kill()


def _inside(answer: Connection, work: Callable[..., Any], args: tuple[Any, ...], log: str) -> None:
    from poolsieve.scoring_models.base.errors import PoolsieveError

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    try:
        answer.send(("ok", work(*args)))
    except (PoolsieveError, OSError) as error:
        answer.send(("refused", f"{type(error).__name__}: {error}"))
    except BaseException:  # noqa: BLE001  (whatever it is, it is the result)
        answer.send(("fell", traceback.format_exc()[-3000:]))
    answer.close()
    os._exit(0)  # threads of Beam's that still wait are of no interest


_context: Any = None


def _server() -> Any:
    """The fork server. In Python 3.11 its modules are found by PYTHONPATH alone."""
    global _context
    if _context is None:
        made = multiprocessing.get_context("forkserver")
        made.set_forkserver_preload(["tests.fuzz.tasks"])
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *([before] if before else [])])
        try:
            multiprocessing.forkserver.ensure_running()  # type: ignore[attr-defined]
        finally:
            os.environ.pop("PYTHONPATH")
            os.environ |= {"PYTHONPATH": before} if before else {}
        _context = made
    return _context
