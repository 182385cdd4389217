"""The command line: thin wrappers of public functions. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Friendly(click.Group):
    """A group whose commands turn poolsieve's errors into one clear message and an exit status.

    2: the plan can't work. 1: the run failed. 130: stopped by the user.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command."""
        from poolsieve.jobs import logs
        from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

        logs.configure()
        try:
            return super().invoke(ctx)
        except PlanError as error:
            _fail(ctx, 2, str(error))
        except PoolsieveError as error:
            _fail(ctx, 1, str(error))
        except OSError as error:
            _fail(ctx, 1, f"{type(error).__name__}: {error}")
        except KeyboardInterrupt:
            _fail(ctx, 130, "stopped. What was scored is kept: the same command goes on from there.")
        return None


def _fail(ctx: click.Context, status: int, message: str) -> None:
    click.echo(f"poolsieve: {message}", err=True)
    ctx.exit(status)


@click.group(cls=Friendly, context_settings=CONTEXT)
@click.version_option(package_name="poolsieve")
def main() -> None:
    """Filter a pool of training data: score once, decide many; every row has a line in the ledger.

    \b
    A first run:
      poolsieve plan recipe.py --out OUT      what would be read and computed; refuses what can't work
      poolsieve run recipe.py --out OUT       score, decide, ledger, manifest, report
      poolsieve decide recipe.py --out OUT    moved limits, from stored scores; no model, no pool
      poolsieve export OUT                    write the kept rows
    """


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that takes a recipe."""
    for option in (
        click.option(
            "--include", multiple=True, metavar="FILE", help="A module that the recipe imports; travels with it."
        ),
        click.option(
            "-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the recipe. Repeatable."
        ),
        click.option(
            "--out", required=True, metavar="OUT", help="Folder (any fsspec URL) of scores, ledger, manifest."
        ),
        click.argument("recipe", metavar="RECIPE"),
    ):
        command = option(command)
    return command


def runner_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that runs a Beam job."""
    for option in (
        click.argument("beam_flags", nargs=-1, type=click.UNPROCESSED),
        click.option("--workers", default=1, show_default=True, help="Shards at a time (local runner)."),
        click.option(
            "--runner",
            default="local",
            show_default=True,
            help="local, or portable (name its job service after --, as: -- --job_endpoint=localhost:8099).",
        ),
    ):
        command = option(command)
    return command


@main.command()
@recipe_options
@click.option("--sample", "sample_rows", default=2000, show_default=True, help="Rows to sample for estimates; 0: none.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(
    recipe: str, out: str, parameters: tuple[str, ...], include: tuple[str, ...], sample_rows: int, as_json: bool
) -> None:
    """Check RECIPE and show what a run would do: passes, bytes, fingerprints, what is scored already, yields."""
    from poolsieve.jobs import commands

    commands.plan(recipe, out, parameters, include, sample_rows=sample_rows, as_json=as_json)


@main.command()
@recipe_options
@runner_options
@click.option("--cuts", metavar="FILE", help="Use the frozen cuts of an earlier run's cuts.json.")
@click.option(
    "--max-error-rate", type=click.FloatRange(0, 1), help="Fail if more of the rows than this are quarantined."
)
@click.option("--retry-quarantined", is_flag=True, help="Try rows again whose scores failed.")
@click.option("--no-samples", is_flag=True, help="Keep the contents of rows out of the report.")
@click.option("--truth", metavar="FILE", help="Parquet with uid and matches: the report states precision and recall.")
def run(recipe: str, out: str, parameters: tuple[str, ...], include: tuple[str, ...], **options: Any) -> None:
    """Score what has no scores yet, decide every row, and write ledger, manifest and report to OUT.

    Stopped or killed, the same command goes on from where it was. When only rules changed, nothing is read or scored.
    Beam options may follow after `--`.
    """
    from poolsieve.jobs import commands

    commands.run(recipe, out, parameters, include, **options)


@main.command()
@click.argument("recipe", required=False, metavar="[RECIPE]")
@click.option("--out", required=True, metavar="OUT", help="Folder of a whole run.")
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the recipe. Repeatable.")
@click.option("--include", multiple=True, metavar="FILE", help="A module that the recipe imports.")
@click.option("--cuts", metavar="FILE", help="Use the frozen cuts of a cuts.json.")
@click.option("--no-samples", is_flag=True, help="Keep the contents of rows out of the report.")
@click.option("--truth", metavar="FILE", help="Parquet with uid and matches: the report states precision and recall.")
@click.option("--what-if", is_flag=True, help="Print counts and overlaps with the current decision; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@runner_options
def decide(recipe: str | None, out: str, parameters: tuple[str, ...], include: tuple[str, ...], **options: Any) -> None:
    """Decide again with moved limits, from stored rows and scores; no model is loaded and the pool may be gone.

    Without RECIPE the recipe of the last run is taken, with other parameters (-p) if given.
    """
    from poolsieve.jobs import commands

    commands.decide(recipe, out, parameters, include, **options)


@main.command()
@click.argument("out", metavar="OUT")
@click.option("--to", "target", metavar="FOLDER", help="Where to; OUT/export if not given.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["same", "parquet", "webdataset", "jsonl"]),
    default="same",
    show_default=True,
)
@click.option("--reason", metavar="GLOB", help="Export the rows dropped for these reasons instead of the kept ones.")
@click.option("--uids", metavar="FILE", help="Export the rows on this list (.npy u8,u8, .parquet, text) instead.")
@click.option("--scores", is_flag=True, help="Add the score columns.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="COLUMN=ROLE",
    help="Put what the recipe's edits made of ROLE into COLUMN, as text=text (Parquet, JSON lines). Repeatable.",
)
@click.option("--target-mb", type=click.IntRange(1), help="Size of an output file; 500 (Parquet) or 1024 (tar).")
@click.option("--replace", is_flag=True, help="Replace an earlier export in the same folder.")
@runner_options
def export(out: str, target_mb: int | None, format_: str, **options: Any) -> None:
    """Write the kept rows of a whole run as they came, or as Parquet, WebDataset or JSON lines."""
    from poolsieve.jobs import commands

    commands.export(out, target_mb=target_mb, format_=format_, **options)


@main.command()
@click.argument("out", metavar="OUT")
@click.option("--no-samples", is_flag=True, help="Keep the contents of rows out of the report.")
@click.option("--truth", metavar="FILE", help="Parquet with uid and matches: the report states precision and recall.")
def report(out: str, no_samples: bool, truth: str | None) -> None:
    """Make the report of the current decision anew."""
    from poolsieve.jobs import commands

    commands.report(out, no_samples=no_samples, truth=truth)


@main.group()
def train() -> None:
    """Train a scorer's model."""


@train.command("fasttext")
@click.argument("model", metavar="MODEL.bin")
@click.option(
    "--positive", required=True, metavar="GLOB", help="Texts to be like: .jsonl(.gz, .zst), .parquet or .tar."
)
@click.option("--negative", required=True, metavar="GLOB", help="Texts of the corpus as it is.")
@click.option("--text", metavar="SOURCE", help="Column, field or member of the text.  [default: text; txt in tars]")
@click.option("--label", "positive_label", default="hq", show_default=True, help="Label of the positive texts.")
@click.option("--other", "negative_label", default="lq", show_default=True, help="Label of the negative texts.")
@click.option("--holdout", default=0.1, show_default=True, type=click.FloatRange(0, 0.9), help="Share for measuring.")
@click.option("--seed", default=0, show_default=True, help="Chooses the held-out texts.")
@click.option("--lr", default=0.1, show_default=True, help="Learning rate.")
@click.option("--epoch", default=5, show_default=True, help="How often each text is read.")
@click.option("--dim", default=100, show_default=True, help="Size of a word's vector.")
@click.option("--word-ngrams", "wordNgrams", default=2, show_default=True, help="Longest n-gram of words.")
@click.option("--bucket", default=2_000_000, show_default=True, help="Slots for n-grams.")
@click.option("--threads", "thread", default=1, show_default=True, help="With more, no two trainings are the same.")
@click.option("--replace", is_flag=True, help="Replace an existing model.")
def train_fasttext(model: str, positive: str, negative: str, text: str | None, **options: Any) -> None:
    """Train MODEL.bin to tell two pools of texts apart, for Score(quality=FastText("MODEL.bin", label="hq")).

    \b
    poolsieve train fasttext quality.bin --positive 'good/*.jsonl.zst' --negative 'crawl/*.jsonl.zst'
    """
    from poolsieve.jobs import commands

    commands.train_fasttext(model, positive, negative, text, **options)


@main.command()
@click.argument("out", metavar="OUT")
@click.option("--yes", is_flag=True, help="Don't ask.")
def prune(out: str, yes: bool) -> None:
    """Remove older decisions from OUT, and what killed runs left half-written. Scores are never removed."""
    from poolsieve.jobs import commands

    commands.prune(out, yes=yes)


if __name__ == "__main__":
    sys.exit(main())
