"""Who works in a folder right now, so that nothing is removed or replaced under them.

A lease is a small JSON file with a name of its own. Who wants one writes it first and looks at the others then: of two
that can't stand side by side, the later writer sees the earlier one and withdraws. All that a storage must do for this
is list a file once it has been written, which local disks, S3, GCS and Azure promise; no create-if-absent is needed,
and to break a dead lease is to remove one file whose name nobody takes again.

A holder writes its lease anew every `BEAT` seconds. A lease is dead when its process is gone (on the same machine), or
when it is `STALE` seconds older than one that was written just now (on another one): both times are the storage's, so
that clocks need not agree.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import getpass
import json
import logging
import os
import platform
import random
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from poolsieve.dataflow import fs, progress
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

WORK = "work"
"""For writing what is content-named, and for reading: any number at once."""

CLOSE = "close"
"""For replacing the manifest: one at a time, beside any work."""

SOLE = "sole"
"""For removing: alone."""

_KINDS = (WORK, CLOSE, SOLE)

_MEET = {(WORK, WORK), (WORK, CLOSE), (CLOSE, WORK)}
"""Kinds that can stand side by side."""

BEAT = 30.0
"""Seconds after which a holder writes its lease anew."""

STALE = 300.0
"""Seconds without a beat after which a holder on another machine is taken for dead: ten beats."""

PRUNE_SECONDS = 120.0
"""Seconds that whoever works waits for a `prune` to end: it only removes files."""

SETTLE = 2.0
"""Seconds for which even who won't wait tries: of two that begin at once, both may withdraw the first time."""

_MADE_AGAIN = 20
"""Times that the folder is made again: whoever leaves last removes it, perhaps right before others write there."""

_SAY_AFTER = 3.0
"""Seconds of waiting after which the user is told what for."""

_SHOWN = 100
"""Characters of each text of a lease that a message repeats: anybody may have written it."""

_log = logging.getLogger(__name__)


class InUse(PlanError):
    """Somebody else works in the folder, so that this command would remove or replace what they need."""


class LeaseLost(PoolsieveError):
    """Somebody else removed this command's lease, and may work in the folder now."""


class Holder(msgspec.Struct, kw_only=True, frozen=True):
    """What a lease says of who holds it.

    Attributes:
        kind: `WORK`, `CLOSE` or `SOLE`.
        what: for people, as "poolsieve run".
        who: user and host, for people.
        place: what tells one space of process numbers from every other; "" where nothing does.
        pid: number of the process there.
        started: when it started, as the system counts, since numbers are given again.
        since: when the lease was taken, by the holder's clock, for people.
    """

    kind: str
    what: str
    who: str
    place: str
    pid: int
    started: str
    since: str

    def meets(self, kind: str) -> bool:
        """Whether a lease of that kind may stand beside this one."""
        return (self.kind, kind) in _MEET

    @property
    def is_near(self) -> bool:
        """Whether this machine knows if the process has ended: it may be stopped, and silent, and still be there."""
        return bool(self.place) and self.place == _place()

    @property
    def is_gone(self) -> bool:
        """Whether a process that is near has ended."""
        return _began(self.pid) != self.started


class Lease:
    """One lease, from `held`."""

    def __init__(self, url: str, holder: Holder) -> None:
        self.url, self.holder = url, holder
        self.lost, self._beats = False, 0
        self._work = progress.current()
        self._taken_by = os.getpid()
        self._over = threading.Event()
        self._writing = threading.Lock()

    def write(self) -> None:
        """Takes it, or says that its holder is still there.

        Never the same bytes twice: a store that knows files by their contents may not write anew what it has.
        """
        data = json.dumps(msgspec.to_builtins(self.holder) | {"beat": self._beats}).encode()
        self._beats += 1
        for _ in range(_MADE_AGAIN):
            with contextlib.suppress(FileNotFoundError):
                fs.write_bytes(self.url, data)
                return
        fs.write_bytes(self.url, data)

    def check(self) -> None:
        """Called right before something is replaced.

        Raises:
            LeaseLost: if somebody removed the lease.
        """
        if self.lost or not fs.exists(self.url):
            self.lost = True
            raise LeaseLost(
                f"{self.url} was removed while {self.holder.what} went on, so that another command may work there now: "
                "run the same command again"
            )

    def beat(self) -> None:
        """Runs in a thread of its own until the lease is given back."""
        while not self._over.wait(BEAT):
            with contextlib.suppress(OSError):  # a storage that fails now is asked again at the next beat
                self._again()

    def _again(self) -> None:
        with self._writing:
            if self._over.is_set():
                return
            if fs.exists(self.url):
                self.write()
                return
            self.lost = True
            self._work.ask_to_stop()
            self._over.set()

    def give_back(self) -> None:
        """Ends it. Not while a beat is being written, which would outlive it."""
        if os.getpid() != self._taken_by:  # a process that was forked from its holder, who has it still
            return
        self._over.set()
        with self._writing:
            fs.remove(self.url)


@contextlib.contextmanager
def held(
    folder: str, kind: str, what: str, *, patience: float = 0.0, read_only: bool = False
) -> Iterator[Lease | None]:
    """Holds a lease while the block runs.

    Args:
        folder: of leases; everybody who must not meet names the same one.
        kind: `WORK`, `CLOSE` or `SOLE`.
        what: the command, for whoever must wait for it.
        patience: seconds to wait for others.
        read_only: go on without a lease (None) where nothing can be written: who only reads needs no more.

    Raises:
        InUse: if others are still there when patience is over, naming them.
        LeaseLost: if somebody removed the lease meanwhile.
    """
    try:
        lease = _taken(folder, kind, what, max(patience, SETTLE))
    except (OSError, NotImplementedError) as error:
        if not read_only:
            raise _no_folder(folder, error) from error
        yield None
        return
    thread = threading.Thread(target=lease.beat, daemon=True, name="poolsieve-lease")
    thread.start()
    try:
        yield lease
    except progress.Interrupted:
        if lease.lost:
            lease.check()
        raise
    finally:
        lease.give_back()
        thread.join(timeout=BEAT)
        _remove_empty(folder)


def _taken(folder: str, kind: str, what: str, patience: float) -> Lease:
    started, said, pause = time.monotonic(), False, 0.05
    while True:
        lease = Lease(fs.join(folder, f"{kind}-{uuid.uuid4().hex}.json"), _me(kind, what))
        try:
            lease.write()
            others = _others(folder, lease)
        except BaseException:  # Ctrl-C too: nobody would give the lease back
            lease.give_back()
            raise
        if not others:
            return lease
        lease.give_back()
        waited = time.monotonic() - started
        if waited > patience:
            raise _in_use(others)
        if waited > _SAY_AFTER and not said:
            _log.warning("waiting for %s", _name(*others[0]))
            said = True
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  (spreads attempts, keeps no secret)
        pause = min(pause * 1.5, 5.0)


def _others(folder: str, mine: Lease) -> list[tuple[str, Holder]]:
    """Leases that can't stand beside this one; the dead among them are removed."""
    found = []
    for name in fs.names(folder):
        url = fs.join(folder, name)
        kind = name.partition("-")[0]
        # What may stand beside needs no reading: of the tasks of an array each would read those of all others.
        # Folders of leases of their own may stand among them, with any name (those of artefacts).
        if url == mine.url or kind not in _KINDS or not name.endswith(".json") or (kind, mine.holder.kind) in _MEET:
            continue
        holder = _read(url)
        if holder is None or holder.meets(mine.holder.kind):
            continue
        if holder.is_gone if holder.is_near else _age(url, mine.url) > STALE:
            fs.remove(url)
        else:
            found.append((url, holder))
    return found


def _no_folder(folder: str, error: Exception) -> Exception:
    """What to say where leases can't be written: what stands in the place of their folder."""
    if isinstance(error, (NotADirectoryError, FileExistsError)):
        return PlanError(f"{folder} is a file, and a folder is needed there: move it away")
    return error


def _read(url: str) -> Holder | None:
    """What a lease says; None if it has been given back meanwhile. One that can't be read is what its name says.

    It may be another user's, whose files nobody else may read: to pass it over would be to work beside a `prune`.
    """
    try:
        return msgspec.json.decode(fs.read_bytes(url), type=Holder)
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError, IsADirectoryError, PermissionError):
        kind = url.rpartition("/")[2].partition("-")[0]
        return Holder(kind=kind, what="something that can't be read", who="?", place="", pid=0, started="", since="?")


def _age(url: str, newest: str) -> float:
    """Seconds by which one file is older than another, by the storage's clock; 0 where it does not say."""
    try:
        then, now = fs.modified(url), fs.modified(newest)
    except (OSError, NotImplementedError):
        return 0.0
    return (now - then).total_seconds()


def _in_use(others: Sequence[tuple[str, Holder]]) -> InUse:
    more = f", and {len(others) - 1} more" if len(others) > 1 else ""
    url, holder = others[0]
    return InUse(
        f"{url.rsplit('/', 2)[0]} is in use by {_name(url, holder)}{more}. Try again when that has ended; if it is no "
        f"longer there, remove {url}"
    )


def _name(url: str, holder: Holder) -> str:
    what, who, since = (text[:_SHOWN] for text in (holder.what, holder.who, holder.since))
    return f"{what} ({who}, process {holder.pid}, since {since})"


def _remove_empty(folder: str) -> None:
    system, path = fs.connect(folder)
    if fs.is_local(system):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def _me(kind: str, what: str) -> Holder:
    pid = os.getpid()
    since = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Holder(kind=kind, what=what, who=_who(), place=_place(), pid=pid, started=_began(pid), since=since)


def _who() -> str:
    try:
        return f"{getpass.getuser()} on {platform.node()}"
    except (OSError, KeyError):  # a container's user may have no name
        return f"user {os.getuid()} on {platform.node()}"


@functools.cache
def _place() -> str:
    """One boot of one machine, and one space of process numbers in it: containers have their own.

    Without /proc (macOS), where processes are not told apart like this, the host's name.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return "" if os.path.exists("/proc/self") else platform.node()


def _began(pid: int) -> str:
    """When a process was started; "" for one that has ended."""
    return started_at(pid) if os.path.exists("/proc/self") else said_by_ps(pid)


def said_by_ps(pid: int) -> str:
    """When a process was started, where only `ps` knows it; "" for one that has ended."""
    command, env = ["ps", "-o", "state=,lstart=", "-p", str(pid)], {"LC_ALL": "C", "PATH": os.defpath}
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, env=env)  # noqa: S603  (a number)
    except OSError:
        return ""
    state, _, started = said.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()


def started_at(pid: int) -> str:
    """When a process was started, in ticks since the boot; "" where that is not known, and for one that has ended.

    One that nobody has waited for (a zombie, as containers have them) still takes signals, and another process may
    get the number of one that is gone.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
