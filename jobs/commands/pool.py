"""`poolsieve pool`."""

from __future__ import annotations

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=50000, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads that each worker may keep busy. Default: the machine's cores, for a pool with one worker at a time.",
)
def pool(host: str, port: int, threads: int | None) -> None:
    """Start Python workers here for a Beam runner: one pool beside each Spark or Flink worker, until Ctrl-C.

    Jobs name it by `--environment_type=EXTERNAL --environment_config=HOST:PORT`, and must have the same versions of
    poolsieve, Beam and Python. Whoever reaches the port can have processes started: beyond this machine, keep it inside
    a network that you trust.
    """
    import logging
    import os

    from poolsieve.dataflow.runners.base import THREADS
    from poolsieve.dataflow.runners.versions import versions
    from poolsieve.dataflow.runners.worker_pool import LOOPBACK, WorkerPool

    logging.getLogger("poolsieve").setLevel(logging.INFO)
    if threads is not None:
        os.environ[THREADS] = str(threads)  # of its workers, too
    made = WorkerPool(host, port)
    said = ", ".join(f"{name} {number}" for name, number in versions().items())
    click.echo(f"pool     {made.address} ({said})")
    if host not in (LOOPBACK, "localhost", "::1", "[::1]"):
        click.echo("warning: whoever reaches this port can have processes started here", err=True)
    try:
        made.wait()
    finally:
        made.stop()
