"""A Prism server."""

from __future__ import annotations

import sys

from poolsieve.dataflow.runners.clusters import artefacts
from poolsieve.dataflow.runners.clusters.artefacts import Say
from poolsieve.dataflow.runners.clusters.base import Rising
from poolsieve.dataflow.runners.clusters.state import Cluster
from poolsieve.dataflow.runners.network import free_ports, listens
from poolsieve.dataflow.runners.versions import versions


class PrismCluster:
    """`poolsieve cluster up --prism`."""

    def fetch(self, say: Say) -> None:
        """By Go."""
        artefacts.prism(versions()["beam"], say)

    def start(self, rising: Rising, workers: int) -> Cluster:
        """Pool, server."""
        binary = artefacts.prism(versions()["beam"], rising.say)
        port, pool = free_ports(2)
        address = rising.pool(sys.executable, pool, 1)  # one worker, which does all shards
        rising.start("prism", [binary, f"--job_port={port}", "--serve_http=false"])
        rising.until("Prism", lambda: listens("127.0.0.1", port, 1.0))
        return Cluster(
            kind="prism",
            master=f"localhost:{port}",
            pool=address,
            workers=workers,
            processes=tuple(rising.processes),
            versions=versions() | {"prism": versions()["beam"]},
        )
