"""A worker process of the local runner: Beam's own, but quiet, and gone when the process that started it is gone.

Started as `python -m poolsieve.dataflow.runners.worker PID`. Left alone, Beam's outlives a parent that was killed.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

from poolsieve.dataflow.leases import started_at
from poolsieve.dataflow.runners.base import quiet_threads

PAUSE = 0.5
"""Seconds between two looks at the parent."""


def watch_parent(pid: int, pause: float = PAUSE) -> None:
    """Ends this process soon after process `pid` has ended."""
    started = started_at(pid)
    known = bool(started) or not os.path.exists("/proc/self")  # else it had ended before it was looked at
    while known and _is_there(pid) and started_at(pid) == started:
        time.sleep(pause)
    os._exit(1)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _unless_left_alone(args: threading.ExceptHookArgs) -> None:
    """Prints what a thread raised, unless it was that the parent has gone: then this process ends meanwhile."""
    time.sleep(2 * PAUSE)
    threading.__excepthook__(args)


def main() -> None:
    """Runs Beam's worker under watch."""
    parent = int(sys.argv.pop(1))
    threading.Thread(target=watch_parent, args=(parent,), daemon=True).start()
    # What goes wrong reaches the parent as an exception; Beam's own remarks have no reader here.
    logging.basicConfig(handlers=[logging.NullHandler()])
    threading.excepthook = _unless_left_alone
    quiet_threads()
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
