"""The documents are true: their Python makes recipes, their commands parse, their links lead somewhere."""

from __future__ import annotations

import re
import runpy
import shlex
import warnings
from pathlib import Path
from typing import Any

import click
import pytest

from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.jobs.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[Any]:
    found = []
    for page in PAGES:
        for i, text in enumerate(re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)):
            found.append(pytest.param(text, id=f"{page.name}-{i}"))
    return found


@pytest.mark.parametrize("text", blocks("python"))
def test_python_blocks_make_recipes(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(text, "block", "exec"), names)
    assert isinstance(names["recipe"], Recipe)
    assert str(names["recipe"])


@pytest.mark.parametrize("text", blocks("bash"))
def test_commands_parse(text: str) -> None:
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["poolsieve"]:
            continue
        command = main.commands[words[1]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert isinstance(command.make_context(words[1], words[2:]), click.Context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_page_of_rules_is_what_the_code_says() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_rules.py"))["page"]()
    assert (ROOT / "docs" / "rules.md").read_text() == page, "run `python docs/make_rules.py`"


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text() + (ROOT / "docs" / "how-it-works.md").read_text()
    for name in ("plan", "run", "decide", "export", "prune"):
        assert f"poolsieve {name}" in text
