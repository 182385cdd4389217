"""A worker process of the local runner: Beam's own, but quiet, and gone when the process that started it is gone.

Started as `python -m poolsieve.dataflow.runners.worker PID`. Left alone, Beam's outlives a parent that was killed.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time


def watch_parent(pid: int, pause: float = 0.5) -> None:
    """Ends this process soon after process `pid` has ended."""
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            os._exit(1)
        time.sleep(pause)


def main() -> None:
    """Runs Beam's worker under watch."""
    parent = int(sys.argv.pop(1))
    threading.Thread(target=watch_parent, args=(parent,), daemon=True).start()
    # What goes wrong reaches the parent as an exception; Beam's own remarks have no reader here.
    logging.basicConfig(handlers=[logging.NullHandler()])
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
