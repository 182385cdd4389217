"""The command line: thin wrappers of public functions. Nothing heavy is imported before a command runs.

A new command is one file in `commands/` and one line here.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Any

import click

from poolsieve.jobs.commands.cluster import cluster
from poolsieve.jobs.commands.decide import decide
from poolsieve.jobs.commands.export import export
from poolsieve.jobs.commands.finish import finish
from poolsieve.jobs.commands.items import items
from poolsieve.jobs.commands.models import models
from poolsieve.jobs.commands.plan import plan
from poolsieve.jobs.commands.pool import pool
from poolsieve.jobs.commands.prune import prune
from poolsieve.jobs.commands.publish import publish
from poolsieve.jobs.commands.report import report
from poolsieve.jobs.commands.run import run
from poolsieve.jobs.commands.tokenize import tokenize
from poolsieve.jobs.commands.train import train

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Friendly(click.Group):
    """A group whose commands turn poolsieve's errors into one clear message and an exit status.

    2: the plan can't work. 1: the run failed. 3: parts of a run are lacking. 130, 143: stopped by Ctrl-C, by SIGTERM.
    141: nobody reads on (`| head`).
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command."""
        from poolsieve.dataflow.runners.supervise import Terminated, stopped_by_sigterm
        from poolsieve.jobs import logs
        from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

        logs.configure()
        try:
            with stopped_by_sigterm():
                return super().invoke(ctx)
        except PlanError as error:
            _fail(ctx, 2, str(error))
        except PoolsieveError as error:
            _fail(ctx, getattr(error, "status", 1), str(error))
        except BrokenPipeError as error:
            _nobody_reads(ctx, error)
        except Terminated:
            _stopped(ctx, 143)
        except KeyboardInterrupt:
            _stopped(ctx, 130)
        except MemoryError as error:
            _fail(ctx, 1, f"MemoryError: {error or 'there is not enough memory'}; fewer --workers need less")
        except Exception as error:
            from poolsieve.dataflow.storage_errors import explained

            if (found := explained(error)) is None and not isinstance(error, OSError):
                raise
            _fail(ctx, 1, str(found or f"{type(error).__name__}: {error}"))
        return None


def _fail(ctx: click.Context, status: int, message: str) -> None:
    click.echo(f"poolsieve: {_harmless(message)}", err=True)
    ctx.exit(status)


def _harmless(message: str) -> str:
    """Names come from files: what a terminal would take for a command is shown as it is spelled."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in message)


_GOES_ON = " What was done is kept: the same command goes on from there."
_LEAVES_NOTHING = ("plan", "report", "prune", "pool", "cluster")
"""Commands that begin anew each time."""


def _stopped(ctx: click.Context, status: int) -> None:
    """Ends without waiting for a job that did not stop in time: Python would join its threads."""
    from poolsieve.dataflow.runners.supervise import still_at_work

    goes_on = "" if ctx.invoked_subcommand in _LEAVES_NOTHING else _GOES_ON
    click.echo(f"poolsieve: stopped.{goes_on}", err=True)
    if still_at_work():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    ctx.exit(status)


def _nobody_reads(ctx: click.Context, error: BrokenPipeError) -> None:
    """Ends quietly where our own output is a pipe that was closed; a broken connection to storage is an error."""
    gone = [stream for stream in (sys.stdout, sys.stderr) if _is_gone(stream)]
    if not gone:
        _fail(ctx, 1, f"{type(error).__name__}: {error}")
    for stream in gone:
        # What is left in its buffer must go somewhere when Python ends, or it would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    ctx.exit(141)


def _is_gone(stream: Any) -> bool:
    try:
        stream.flush()
        asked = select.poll()
        asked.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in asked.poll(0))
    except BrokenPipeError:
        return True
    except (OSError, ValueError, AttributeError):
        return False


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
      poolsieve publish OUT --repo ORG/NAME   put them on the Hugging Face Hub
    """


for command in (
    plan,
    run,
    finish,
    decide,
    export,
    publish,
    report,
    items,
    tokenize,
    train,
    prune,
    models,
    pool,
    cluster,
):
    main.add_command(command)


if __name__ == "__main__":
    sys.exit(main())
