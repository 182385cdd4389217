"""Writes docs/cli.md: every command of `poolsieve` with its options and their defaults, from the commands themselves.

python docs/make_cli.py
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from poolsieve.jobs.cli import main as poolsieve

PAGE = Path(__file__).parent / "cli.md"

HEAD = """# Commands

What `poolsieve` can be told, as `--help` says it. This page is made from the code by `python docs/make_cli.py`; a test
fails when it is out of date.
"""


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")


def page() -> str:
    """The page as it should be."""
    root = click.Context(poolsieve, info_name="poolsieve", show_default=True, **poolsieve.context_settings)
    return "\n".join([HEAD, *map(section, commands(root))])


def commands(ctx: click.Context) -> Iterator[click.Context]:
    """A command and, if it is a group, all below it, each with the words that call it."""
    yield ctx
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            if command is not None and not command.hidden:
                yield from commands(click.Context(command, info_name=name, parent=ctx))


def section(ctx: click.Context) -> str:
    """One command: how it is called, what it does, its options."""
    usage = " ".join([ctx.command_path, *ctx.command.collect_usage_pieces(ctx)])
    parts = [f"## {ctx.command_path}", f"```text\n{usage}\n```", *paragraphs(ctx.command.help or ""), options(ctx)]
    return "\n\n".join(part for part in parts if part) + "\n"


def paragraphs(text: str) -> Iterator[str]:
    """A command's help: lines joined, except in a paragraph after \\b, which click leaves as it stands."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            yield f"```text\n{inspect.cleandoc(paragraph.removeprefix(chr(8)))}\n```"
        else:
            yield paragraph.replace("\n", " ")


def options(ctx: click.Context) -> str:
    """The options as a table. Arguments stand in the usage; `--help`, which every command has, is not among params."""
    records = [option.get_help_record(ctx) for option in ctx.command.params if option.param_type_name == "option"]
    rows = [f"| `{cell(names)}` | {cell(text)} |" for names, text in filter(None, records)]
    return "\n".join(["| option | |", "|---|---|", *rows]) if rows else ""


def cell(text: str) -> str:
    """Text that can stand in a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
