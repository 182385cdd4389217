"""`poolsieve cluster`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from poolsieve.dataflow.runners.clusters.state import Cluster

KINDS = ("spark", "flink", "prism")

Command = Callable[..., Any]


def _kinds(what: str) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for kind in reversed(KINDS):
            command = click.option(f"--{kind}", is_flag=True, help=f"{what} {kind.capitalize()}.")(command)
        return command

    return decorate


def _chosen(flags: dict[str, bool]) -> list[str]:
    return [kind for kind in KINDS if flags[kind]]


@click.group()
def cluster() -> None:
    """A real Spark, Flink or Prism on this machine, for trials and tests: `run --runner spark` uses it by itself."""


@cluster.command()
@_kinds("Start")
@click.option("--workers", default=2, show_default=True, help="Spark workers, or task managers: shards at a time.")
def up(workers: int, **flags: bool) -> None:
    """Start a cluster on this machine: its processes run on until `down`, and write to log files.

    What it is made of is fetched once: Spark and Flink by pip, their job servers by Maven, Prism by Go (Java 11 or 17
    for the first two). Each step is awaited by a sign of its own; a job of one element comes last.
    """
    from poolsieve.dataflow.runners.clusters import up as clusters
    from poolsieve.scoring_models.base.errors import PlanError

    chosen = _chosen(flags)
    if len(chosen) != 1:
        raise PlanError("cluster up: say which, as --spark, --flink or --prism")
    made = clusters.up(chosen[0], workers, _say)
    click.echo(f"{made.kind} is up at {made.master}: poolsieve run RECIPE --out OUT --runner {made.kind}")


@cluster.command()
@_kinds("Fetch")
def fetch(**flags: bool) -> None:
    """Fetch and build what clusters are made of, all of it at a time, and start nothing: those named, or all."""
    from poolsieve.dataflow.runners.clusters import up as clusters

    clusters.fetch(_chosen(flags) or KINDS, _say)


@cluster.command()
@_kinds("End")
def down(**flags: bool) -> None:
    """End clusters of this machine: those named, or all. Nothing is ended but what `up` has started."""
    from poolsieve.dataflow.runners.clusters import up as clusters

    for kind in _chosen(flags) or KINDS:
        if clusters.down(kind, _say):
            click.echo(f"{kind} is down")
        elif flags[kind]:
            click.echo(f"there is no {kind} cluster")


@cluster.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show the clusters of this machine: addresses, processes, logs, versions."""
    import msgspec

    from poolsieve.dataflow.runners.clusters import up as clusters

    found = clusters.status()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
        return
    if not found:
        click.echo("there is no cluster")
    for one in found:
        _say_where(one)
        for process in one.processes:
            state = "runs" if process.alive else "HAS ENDED"
            click.echo(f"         {process.name} {state}, process {process.pid}, {process.log}")


def _say_where(one: Cluster) -> None:
    if one.rising:
        click.echo(f"{one.kind:8} is not up yet")
        return
    click.echo(f"{one.kind:8} {one.master}, pool {one.pool}" + (f", page {one.web}" if one.web else ""))
    click.echo(f"         {', '.join(f'{name} {number}' for name, number in one.versions.items())}")


def _say(text: str) -> None:
    click.echo(text, err=True)
