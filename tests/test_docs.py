"""The documents are true: their Python makes recipes, their commands parse, their links lead somewhere."""

from __future__ import annotations

import re
import runpy
import shlex
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import poolsieve
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.jobs.cli import main
from tests.conftest import write_pool
from tests.dataflow.exported import tar_recipe, write_tar

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / ".github" / "pull_request_template.md"]


def blocks(language: str) -> list[Any]:
    found = []
    for page in PAGES:
        for i, text in enumerate(re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)):
            found.append(pytest.param(text, id=f"{page.name}-{i}"))
    return found


def about(text: str) -> str:
    """What a block does: runs a recipe, asks a run what it kept, or makes a recipe."""
    return next((call for call in ("poolsieve.run(", "poolsieve.kept(") if call in text), "")


CALLS, KEPT, RECIPES = (
    [one for one in blocks("python") if about(one.values[0]) == call]
    for call in ("poolsieve.run(", "poolsieve.kept(", "")
)


@pytest.mark.parametrize("text", RECIPES)
def test_python_blocks_make_recipes(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(text, "block", "exec"), names)
    assert isinstance(names["recipe"], Recipe)
    assert str(names["recipe"])


FILE = """
from poolsieve.dataflow import Pool
from poolsieve.filters import Top
def recipe(fraction=0.15):
    return Pool.parquet("pool/*.parquet", uid="uid", text="text", dfn="clip") | Top("dfn", fraction=fraction)
"""


@pytest.mark.parametrize("text", CALLS)
def test_python_blocks_that_run_something_work(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a small pool, and a recipe that has the names which the text uses."""
    monkeypatch.chdir(tmp_path)
    write_pool(tmp_path / "pool", sizes=(60, 40))
    Path("recipe.py").write_text(FILE)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(FILE, "recipe", "exec"), names)
    names["recipe"] = names["recipe"]()
    exec(compile(text, "block", "exec"), names)
    assert Path("OUT/manifest.json").exists() and Path("OUT/export").exists()


@pytest.mark.parametrize("text", KEPT)
def test_python_blocks_that_train_on_what_was_kept_work(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a run in OUT, of tars where the text has WebDataset stream them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POOLSIEVE_CACHE", str(tmp_path / "cache"))
    if "webdataset" in text:
        (tmp_path / "pool").mkdir()
        write_tar(tmp_path / "pool" / "0.tar", 0, 30)
        poolsieve.run(tar_recipe(tmp_path / "pool"), "OUT")
    else:
        monkeypatch.setattr(pytest.importorskip("datasets").config, "HF_DATASETS_CACHE", tmp_path / "hf")
        write_pool(tmp_path / "pool", sizes=(60, 40))
        Path("recipe.py").write_text(FILE)
        poolsieve.run("recipe.py", "OUT")
    exec(compile(text, "block", "exec"), {"__name__": "page"})


def test_some_block_runs_something() -> None:
    assert CALLS and KEPT


@pytest.mark.parametrize("text", blocks("bash"))
def test_commands_parse(text: str) -> None:
    for line in text.replace("\\\n", " ").splitlines():
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


def test_the_page_of_commands_is_what_the_code_says() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))["page"]()
    assert (ROOT / "docs" / "cli.md").read_text() == page, "run `python docs/make_cli.py`"


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """(words that call it, command) of every command that does something."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    ctx = click.Context(command)
    for name in command.list_commands(ctx):
        found = command.get_command(ctx, name)
        assert found is not None
        yield from leaves(found, f"{path} {name}")


COMMANDS = dict(leaves(main, "poolsieve"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_described_and_shown_at_work(name: str) -> None:
    """It has a help text, as has each of its options (a default is one), and some page says what it is for."""
    command = COMMANDS[name]
    assert command.help
    told = [part for part in command.params if isinstance(part, click.Option)]
    records = [option.get_help_record(click.Context(command)) for option in told]
    assert all(record and record[1] for record in records), records
    assert any(name in page.read_text() for page in PAGES if page.name != "cli.md")


FOLDERS = "filters|scoring_models|dataflow|jobs|poolsieve|tests|docs|recipes|benchmarks|[.]github|[.]ci"


def paths_named(page: Path) -> Iterator[str]:
    """Every `path/in/the/repository` in back-ticks; of `filters/<family>.py` and `docs/*.md` the folder."""
    for quoted in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)):
        for path in re.findall(rf"(?<![\w./:-])(?:{FOLDERS})/[^\s,;()]*", quoted):
            yield re.sub(r"[^/]*[<*{].*", "", path.partition("::")[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_lead_somewhere(page: Path) -> None:
    missing = [path for path in paths_named(page) if not (ROOT / path).exists()]
    assert not missing


GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text()


def test_every_promise_names_a_test_that_is_there() -> None:
    """Or says why there is none."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", GUARANTEES)
    assert len(named) > 30
    missing = [f"{path}::{name}" for path, name in named if f"\ndef {name}(" not in (ROOT / path).read_text()]
    assert not missing
    rows = [line for line in GUARANTEES.splitlines() if line.startswith("| ") and not line.endswith("held by |")]
    assert not [row for row in rows if "::" not in row and "no test:" not in row]


def test_how_it_works_has_a_heading_for_each_room() -> None:
    """And none for a room that is gone."""
    text = (ROOT / "docs" / "how-it-works.md").read_text()
    headings = re.findall(r"^#+ \d+\. .*\(`(\w+)`\)$", text, re.M)
    rooms = [path.parent.name for path in (ROOT / "dataflow").glob("*/__init__.py")]
    assert sorted(headings) == sorted(rooms)


def test_contributing_draws_the_arrows_that_the_linter_checks() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    drawn = [" -> ".join(contract["layers"]) for contract in contracts if contract["type"] == "layers"]
    assert drawn
    for arrows in drawn:
        assert f"\n{arrows.replace('poolsieve.', '')}\n" in (ROOT / "CONTRIBUTING.md").read_text()


def test_every_version_in_the_changelog_has_the_same_headings() -> None:
    versions = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1:]
    for version in versions:
        headings = re.findall(r"^### (.*)$", version, re.M)
        assert headings == ["New features", "Breaking changes", "Deprecations", "Bug fixes"], version.split("\n")[0]
