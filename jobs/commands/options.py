"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

Command = Callable[..., Any]


class Registered(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions only
    """One of the names of a registry, which is imported when it is asked for and not before: `--help` stays quick."""

    name = "choice"

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self.names = names

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """`[a|b]`, as click shows choices."""
        return f"[{'|'.join(self.names())}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if there is one."""
        if value not in (names := list(self.names())):
            self.fail(f"{value!r} is not one of {', '.join(map(repr, names))}.", param, ctx)
        return str(value)


def _runners() -> Iterable[str]:
    from poolsieve.dataflow.runners.engine import RUNNERS

    return RUNNERS


class _RunnerOption(click.Option):
    """Says what each runner is in the runners' own words."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from poolsieve.dataflow.runners.engine import RUNNERS

        self.help = "; ".join(f"{name}: {runner.about}" for name, runner in RUNNERS.items()) + "."
        return super().get_help_record(ctx)


def _all(command: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def recipe_options(*, out: str, required: bool = True) -> Callable[[Command], Command]:
    """RECIPE, `--out` with its help text, and what belongs to a recipe file."""

    def decorate(command: Command) -> Command:
        return _all(
            command,
            click.argument("recipe", required=required, metavar="RECIPE" if required else "[RECIPE]"),
            click.option("--out", required=True, metavar="OUT", help=out),
            click.option(
                "-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the recipe. Repeatable."
            ),
            click.option(
                "--include", multiple=True, metavar="FILE", help="A module that the recipe imports; travels with it."
            ),
        )

    return decorate


def parsed_parameters(given: Sequence[str]) -> dict[str, str]:
    """`("fraction=0.2",)` -> {"fraction": "0.2"}.

    Raises:
        PlanError: for what is not NAME=VALUE, and for a name that is given twice.
    """
    from poolsieve.scoring_models.base.errors import PlanError

    made: dict[str, str] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise PlanError(f"-p {item}: write NAME=VALUE")
        if name in made:
            raise PlanError(f"-p {name} is given twice")
        made[name] = value
    return made


def part_option(command: Command) -> Command:
    """Which parts of the pool; click would take the last of several and say nothing of the others."""
    text = "Score part I of 0 to N-1 (3,17-19/100: several) and decide nothing; `finish` does. slurm: this task's."
    return click.option("--part", metavar="I/N", multiple=True, callback=_one_part, help=text)(command)


def _one_part(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str | None:
    from poolsieve.scoring_models.base.errors import PlanError

    if len(value) > 1:
        raise PlanError("--part is given twice: write several parts as one, as --part 3,17-19/100")
    return value[0] if value else None


def trust_option(command: Command) -> Command:
    """Whether code that OUT holds may be run."""
    text = "Run the recipe text that OUT holds, whatever its file on this machine says. It is code: do you trust OUT?"
    return click.option("--trust-recipe", is_flag=True, help=text)(command)


def report_options(command: Command) -> Command:
    """What the report shows."""
    return _all(
        command,
        click.option("--no-samples", is_flag=True, help="Keep the contents of rows out of the report."),
        click.option(
            "--truth", metavar="FILE", help="Parquet with uid and matches: the report states precision and recall."
        ),
    )


class _Workers(click.ParamType):
    """A number, or the word that leaves it to poolsieve."""

    name, AUTO = "integer|auto", "auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """None for the word."""
        if value is None or value == self.AUTO:
            return None
        try:
            return int(value)
        except ValueError:
            self.fail(f"{str(value)[:80]!r} is neither a number nor {self.AUTO}", param, ctx)


def runner_options(command: Command) -> Command:
    """Where a Beam job runs."""
    return _all(
        command,
        click.option(
            "--runner", cls=_RunnerOption, type=Registered(_runners), default="local", show_default=True, help=""
        ),
        click.option(
            "--workers",
            type=_Workers(),
            default=_Workers.AUTO,
            show_default=True,
            help="Shards at a time (local runner). auto: one, or where a model scores as many as keep it busy.",
        ),
        click.argument("beam_flags", nargs=-1, type=click.UNPROCESSED),
    )


def models_option(command: Command) -> Command:
    """Where models are looked for first."""
    text = "Folder (any fsspec URL) that `poolsieve models` filled: models come from there, once a machine."
    return click.option("--models", metavar="URL", help=text)(command)
