"""A worker process of our pool: Beam's harness, gone when the pool is gone or when its executor lets it go."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Any

from poolsieve.dataflow.runners.base import import_beam, quiet_threads
from poolsieve.dataflow.runners.worker import watch_parent

_log = logging.getLogger(__name__)


def work(parent: int, endpoint: str, worker_id: str) -> None:
    """Works until the control stream is closed; ends the process.

    Args:
        parent: process number of the pool.
        endpoint: of the executor's control service.
        worker_id: what the executor calls this worker.
    """
    os.setsid()  # Ctrl-C at the pool is the pool's to pass on
    threading.Thread(target=watch_parent, args=(parent,), daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format=f"{worker_id} %(levelname)s %(name)s: %(message)s")
    import_beam()
    quiet_threads()
    threading.excepthook = _quiet
    status = _serve(endpoint, worker_id)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a thread in the middle of a batch that nobody waits for any more would hold the process


def _serve(endpoint: str, worker_id: str) -> int:
    import grpc
    from apache_beam.runners.worker.sdk_worker import SdkHarness

    try:
        SdkHarness(endpoint, worker_id=worker_id).run()
    except grpc.RpcError as error:
        _log.warning("%s has gone: %s", endpoint, _details(error))
        return 1
    return 0


def _quiet(args: threading.ExceptHookArgs) -> None:
    """What a thread of Beam raises when its executor is gone is the executor's to tell."""
    _log.debug("a thread ended", exc_info=args.exc_value)


def _details(error: Any) -> str:
    return str(error.details()) if hasattr(error, "details") else str(error)
