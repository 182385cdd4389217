"""Machines of their own, as far as the network goes: namespaces that a bridge joins, and that go with this process."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import pytest

T = TypeVar("T")

_TOOLS = ("ip", "nsenter", "setpriv", "unshare")
_PATIENCE = 30.0


@dataclass(frozen=True)
class Host:
    """A namespace with a loopback and an address of its own.

    Attributes:
        pid: of the process that keeps it.
        address: by which the others reach it.
    """

    pid: int
    address: str

    @property
    def network(self) -> str:
        """What `/proc/PID/ns/net` of a process says that runs here."""
        return os.readlink(f"/proc/{self.pid}/ns/net")

    @property
    def inside(self) -> list[str]:
        """What a command begins with that is to run here. It is killed when this process has ended."""
        return ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/proc/{self.pid}/ns/net"]

    def do(self, command: str) -> None:
        subprocess.run([*self.inside, *command.split()], check=True, timeout=_PATIENCE)

    def seen(self, look: Callable[[], T]) -> T:
        """What a function says that looks from here: a thread of its own goes here, and no other."""

        def there() -> T:
            with open(f"/proc/{self.pid}/ns/net") as network:
                system = ctypes.CDLL(None, use_errno=True)
                assert system.setns(network.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
            return look()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(there).result()


def skip_without_namespaces() -> None:
    """They take root, or the like, and the tools of util-linux and iproute2."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"network namespaces need {', '.join(missing)}")
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, timeout=_PATIENCE, check=False)
    if made.returncode:
        pytest.skip(f"this process can't make network namespaces: {made.stderr.strip()}")


@contextmanager
def joined(count: int) -> Iterator[list[Host]]:
    """So many hosts that reach one another, and nothing else. The first has the bridge."""
    with ExitStack() as stack:
        made = [stack.enter_context(_host(f"10.77.0.{i}")) for i in range(1, count + 1)]
        first, *rest = made
        first.do("ip link add bridge type bridge")
        _up(first, "bridge")
        for i, host in enumerate(rest):
            first.do(f"ip link add to-{i} type veth peer name eth0 netns /proc/{host.pid}/ns/net")
            first.do(f"ip link set to-{i} master bridge up")
            _up(host, "eth0")
        yield made


def _up(host: Host, device: str) -> None:
    host.do("ip link set lo up")
    host.do(f"ip address add {host.address}/24 dev {device}")
    host.do(f"ip link set {device} up")


@contextmanager
def _host(address: str) -> Iterator[Host]:
    """Kept by a process that reads from this one until it hears no more, however this one ends."""
    with subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE) as keeper:
        made, until = Host(keeper.pid, address), time.monotonic() + _PATIENCE
        while made.network == os.readlink("/proc/self/ns/net"):
            assert time.monotonic() < until and keeper.poll() is None, "no namespace came to be"
            time.sleep(0.01)
        yield made
