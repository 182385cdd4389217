"""Somebody else's OUT is data: no command runs what it finds there, unless it is told to or the user's own file says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import poolsieve
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.recipes.yaml_parameters import only_values
from poolsieve.dataflow.store import layout
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.dataflow.store.shard_lines import SHARDS_SCHEMA, read_shards
from poolsieve.jobs import api
from poolsieve.jobs.cli import main
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import write_pool

RECIPE = """
from poolsieve.dataflow import Pool
from poolsieve.filters import Edit, Keep, Masked, Top, col

def recipe(pool, fraction=0.5):
    return (
        Pool.parquet(pool + "/*.parquet", uid="uid", text="text")
        | Edit(text=Masked())
        | Keep(col("text").word_count() >= 3, reason="text.short")
        | Top("clip", fraction=fraction)
    )
"""

YAML = """
pool: {parquet: "${pool}/*.parquet", uid: uid, text: text}
stages:
  - keep: {score: text.word_count, at_least: ${words}, reason: text.short}
  - top: {name: clip, fraction: "${fraction}"}
"""


class Folder:
    """A pool, a recipe file, and the OUT of a run; each test has a copy of OUT that it may edit."""

    def __init__(self, root: Path, out: Path) -> None:
        self.root, self.recipe, self.out = root, root / "recipe.py", out
        self.canary = out.parent / "canary"

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Changes the manifest as an editor would."""
        path = self.out / "manifest.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    def poison(self, **source: Any) -> None:
        """Gives OUT a recipe that leaves a canary when it is run."""
        text = f"import pathlib\npathlib.Path({str(self.canary)!r}).write_text('ran')\n" + RECIPE
        self.edit(lambda data: data["source"].update({"text": text, **source}))

    def edit_summary(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Changes the current decision's summary.json."""
        path = self.out / "decisions" / read_manifest(str(self.out)).decision / "summary.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    def call(self, *arguments: str) -> Result:
        """A command of the command line; `OUT` and `RECIPE` stand for this one's."""
        places = {"OUT": str(self.out), "RECIPE": str(self.recipe), "POOL": f"pool={self.root}/pool"}
        done = CliRunner().invoke(main, [places.get(part, part) for part in arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    write_pool(root / "pool", sizes=(60, 40))
    (root / "recipe.py").write_text(RECIPE)
    api.run(root / "recipe.py", root / "out", params={"pool": f"{root}/pool"})
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Folder:
    shutil.copytree(made / "out", tmp_path / "out")
    return Folder(made, tmp_path / "out")


COMMANDS = {
    "report": (("report", "OUT"), 0),
    "decide": (("decide", "--out", "OUT"), 2),
    "decide with a parameter": (("decide", "--out", "OUT", "-p", "fraction=0.2"), 2),
    "what-if": (("decide", "--out", "OUT", "--what-if"), 2),
    "export": (("export", "OUT"), 0),
    "export of an edited text": (("export", "OUT", "--column", "text=text"), 2),
    "plan": (("plan", "RECIPE", "--out", "OUT", "-p", "POOL"), 0),
    "prune": (("prune", "OUT", "--yes"), 0),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_a_recipe_that_it_finds_in_out(command: str, folder: Folder) -> None:
    folder.poison()
    arguments, status = COMMANDS[command]
    done = folder.call(*arguments)
    assert not folder.canary.exists()
    assert done.exit_code == status, done.output
    assert status == 0 or ("--trust-recipe" in done.output and "something else" in done.output)


def test_opening_and_showing_out_runs_nothing(folder: Folder) -> None:
    folder.poison()
    out = poolsieve.open(folder.out)
    assert "rows kept" in repr(out) and "<table" in out._repr_html_() and out.summary.facts is not None
    assert out.ledger(["keep"]).num_rows == 100
    for act in (out.decide, lambda: out.decide(what_if=True), lambda: out.export(columns={"text": "text"})):
        with pytest.raises(PlanError, match="trust_recipe=True"):
            act()
    assert not folder.canary.exists()


def test_whoever_trusts_out_runs_its_recipe(folder: Folder) -> None:
    folder.poison()
    assert folder.call("decide", "--out", "OUT", "--trust-recipe").exit_code == 0 and folder.canary.exists()
    out = poolsieve.open(folder.out)
    assert out.decide(trust_recipe=True, params={"fraction": 0.2}).counts.kept < out.counts.kept
    assert folder.call("export", "OUT", "--column", "text=text", "--trust-recipe").exit_code == 0


def test_the_users_own_file_needs_no_trust_and_neither_does_a_recipe_that_is_named(folder: Folder) -> None:
    before = read_manifest(str(folder.out)).decision
    assert folder.call("decide", "--out", "OUT", "-p", "fraction=0.2").exit_code == 0
    assert folder.call("export", "OUT", "--column", "text=text").exit_code == 0
    folder.poison()
    assert folder.call("decide", "RECIPE", "--out", "OUT", "-p", "POOL").exit_code == 0
    assert read_manifest(str(folder.out)).decision == before and not folder.canary.exists()


def test_files_that_prove_nothing(folder: Folder, tmp_path: Path) -> None:
    """The same text in a place that whoever made OUT can write to, or that is none."""
    inside = folder.out / "recipe.py"
    other = tmp_path / "other.py"
    other.write_text("x = 1\n")
    cases: Mapping[str, tuple[Mapping[str, Any], str]] = {
        "in OUT": ({"path": str(inside)}, "lies in OUT itself"),
        "in OUT, by another way": ({"path": f"{tmp_path}/out/../out/recipe.py"}, "lies in OUT itself"),
        "a URL": ({"path": f"file://{inside}"}, "no path of a file"),
        "relative": ({"path": "recipe.py"}, "no path of a file"),
        "gone": ({"path": "/nowhere/recipe.py"}, "there is no file"),
        "no file": ({"path": "/dev/zero"}, "there is no file"),
        "NUL": ({"path": "/tmp/a\0b.py"}, "no path of a file"),
        "half a character": ({"text": "x = '\ud800'"}, "something else"),
        "an included file": ({"text": RECIPE, "includes": {str(other): "x = 2\n"}}, "other.py' on this machine"),
        "included in its own place": ({"includes": {str(folder.recipe): RECIPE}}, "something else"),
    }
    for case, (source, message) in cases.items():
        folder.poison(**{"path": str(folder.recipe), "includes": {}, **source})
        inside.write_text(json.loads((folder.out / "manifest.json").read_text())["source"]["text"], errors="replace")
        done = folder.call("decide", "--out", "OUT")
        assert done.exit_code == 2 and message in done.output, (case, done.output)
        for spelled in (f"file://{folder.out}", f"local://{folder.out}", f"{folder.out}/../out/"):
            for more in ((), ("-p", "fraction=0.2")):
                assert message in folder.call("decide", "--out", spelled, *more).output, (case, spelled)
    assert not folder.canary.exists()


def test_what_a_process_ran_itself_it_may_run_again(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(RECIPE)
    out = api.run(path, tmp_path / "mine", params={"pool": f"{folder.root}/pool"})
    path.write_text(RECIPE.replace("0.5", "0.1"))
    assert out.decide().decision == out.decision
    assert out.export(columns={"text": "text"}).rows == out.counts.kept
    with pytest.raises(PlanError, match="something else"):
        poolsieve.open(out.url).decide()


def test_a_report_needs_neither_the_recipe_nor_its_modules(folder: Folder, tmp_path: Path) -> None:
    """Made again by another process, on a machine (here: a path) where the recipe's module does not exist."""
    (tmp_path / "a_module_of_mine.py").write_text(
        "def length(text):\n    return [None if one is None else float(len(one)) for one in text.to_pylist()]\n"
    )
    script = (
        "import sys, poolsieve; sys.path.insert(0, {modules!r})\n"
        "from a_module_of_mine import length\n"
        "from poolsieve.filters import Score, Top, scorer\n"
        "recipe = poolsieve.Pool.parquet({pool!r}, uid='uid', text='text') | Top('clip', fraction=0.5) | Score(\n"
        "    n=scorer(length, reads=('text',), columns={{'x': 'float32'}}))\n"
        "print(poolsieve.run(recipe, {out!r}).report)"
    ).format(modules=str(tmp_path), pool=f"{folder.root}/pool/*.parquet", out=str(tmp_path / "mine"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    report = Path(done.stdout.strip())
    first = json.loads(report.with_suffix(".json").read_text())
    html = report.read_text()
    report.unlink()
    assert poolsieve.report(tmp_path / "mine") == str(report)
    assert {**json.loads(report.with_suffix(".json").read_text()), "made": first["made"]} == first
    assert report.read_text().replace(_made(report), "") == html.replace(first["made"], "")
    assert first["samples"]["kept"][0]["caption"] is not None


def _made(report: Path) -> str:
    return str(json.loads(report.with_suffix(".json").read_text())["made"])


def test_an_out_of_an_older_version_is_decided_again_first(folder: Folder) -> None:
    folder.edit_summary(lambda data: data.pop("facts"))
    done = folder.call("report", "OUT")
    assert done.exit_code == 2 and "older version" in done.output and "poolsieve decide --out" in done.output
    assert folder.call("decide", "--out", "OUT").exit_code == 0
    assert folder.call("report", "OUT").exit_code == 0


def _set(*place: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        here: Any = data
        for key in place[:-1]:
            here = here[key]
        here[place[-1]] = to

    return change


WRONG = {
    "rows": _set("rows", to="many"),
    "fewer than none": _set("kept", to=-1),
    "more than can be": _set("rows", to=10**400),
    "funnel": _set("funnel", to={"step": 1}),
    "reasons": _set("reasons", to={"text.short": 1.5}),
    "a digit that is none": _set("histograms", "clip", to={"70000": [1, 2]}),
    "a digit's rows": _set("histograms", "clip", to={"7": [1]}),
    "samples": _set(
        "samples", "reason/kept", to=[{"rank": 0, "shard": "s", "row": 1, "uid": None, "reason": "", "scores": 5}]
    ),
    "a sample's scores": _set("samples", "reason/kept", 0, "scores", to="[" * 100_000),
    "a sample's score": _set("samples", "reason/kept", 0, "scores", to='{"clip": {"a": 1}}'),
    "a cut's value": _set("cuts", "clip.below_cut", "", "value", to="high"),
    "a huge cut": _set("cuts", "clip.below_cut", "", "value", to=10**400),
    "a cut's kind": _set("cuts", "clip.below_cut", "", "kind", to="<b>"),
    "a cut's key": _set("cuts", "clip.below_cut", "", "key", to="f" * 40),
    "cuts": _set("cuts", to=[]),
    "seconds": _set("wall_seconds", to=1e300),
    "no seconds": _set("work", "seconds", to={"read": float("nan")}),
    "facts": _set("facts", to="none"),
    "a step": _set("facts", "steps", 0, "kind", to="evil"),
    "a step that a terminal would take for a command": _set("facts", "steps", 0, "kind", to="\x1b[2J" * 1000),
    "a limit": _set("facts", "limits", to=[{"score": "clip", "op": "<script>", "limit": 1}]),
    "a limit that no drawing holds": _set("facts", "limits", to=[{"score": "clip", "op": "less", "limit": 1e309}]),
    "the recipe": _set("facts", "recipe", to="{"),
    "no recipe": _set("facts", "recipe", to="[1]"),
    "a deep recipe": _set("facts", "recipe", to='{"a":' * 100_000),
    "roles": _set("facts", "pool", "roles", to={"text": "text"}),
    "another decision": _set("decision", to="0123456789abcdef"),
    "a decision elsewhere": _set("decision", to="../../../evil"),
    "a scorer elsewhere": _set("facts", "scorers", 0, "fingerprint", to="a/../../../../evil"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_summary_that_was_edited_is_refused_in_words(name: str, folder: Folder) -> None:
    before = {path for path in folder.out.parent.rglob("*") if path.is_file()}
    folder.edit_summary(WRONG[name])
    if name == "a scorer elsewhere":
        # Only a quarantined row has its scorers looked at; what can't be read is a note, and the report is made.
        folder.edit_summary(_set("samples", "reason/quarantine.x", to=[_sample(_shard(folder), "quarantine.x")]))
        folder.edit_summary(_set("reasons", "quarantine.x", to=1))
    done = folder.call("report", "OUT")
    if name == "a scorer elsewhere":
        html = next(folder.out.rglob("report.html")).read_text()
        assert done.exit_code == 0 and "is no name of a file" in html
    else:
        assert done.exit_code in (1, 2) and "damaged" in done.output, done.output
        assert "\x1b" not in done.output and len(done.output) < 1000
    assert {path for path in folder.out.parent.rglob("*") if path.is_file()} == before


def _sample(shard: str, reason: str, uid: str | None = None, scores: Any = None) -> dict[str, Any]:
    return {"rank": 0, "shard": shard, "row": 1, "uid": uid, "reason": reason, "scores": json.dumps(scores or {})}


def _shard(folder: Folder) -> str:
    return read_shards(str(folder.out), read_manifest(str(folder.out)).decision)[0].name


@pytest.mark.parametrize("decision", ["..", "../../evil", "\x1b[2J", "a/b", "/evil", "", "a\0b", "a\\b"])
def test_a_decision_that_leads_out_of_out_is_refused(decision: str, folder: Folder) -> None:
    folder.edit(lambda data: data.update(decision=decision))
    for command in (("report", "OUT"), ("export", "OUT")):
        done = folder.call(*command)
        assert done.exit_code == 2 and "is no decision" in done.output, done.output
    with pytest.raises(PlanError, match="is no decision"):
        poolsieve.open(folder.out)
    with pytest.raises(PoolsieveError, match="no name of a file"):
        layout.report_url(str(folder.out), decision, "html")


def test_a_list_of_shards_that_was_edited_is_refused_in_words(folder: Folder) -> None:
    path = folder.out / "decisions" / read_manifest(str(folder.out)).decision / "shards.parquet"
    table = pq.read_table(path)
    for name, value in (("first", -1), ("rows", -5), ("size", "large"), ("path", 5)):
        pq.write_table(table.set_column(table.schema.get_field_index(name), name, [[value] * len(table)]), path)
        done = folder.call("export", "OUT")
        assert done.exit_code == 1 and "was edited" in done.output, done.output


def test_a_part_that_begins_behind_its_file_is_refused(folder: Folder) -> None:
    path = folder.out / "decisions" / read_manifest(str(folder.out)).decision / "shards.parquet"
    lines = pq.read_table(path).to_pylist()
    far = Shard(path=lines[0]["path"], first=2**62, extent=1, start=0, size=lines[0]["size"], tag=lines[0]["tag"])
    lines[0].update(first=far.first, extent=far.extent, name=far.name)
    pq.write_table(pa.Table.from_pylist(lines, schema=SHARDS_SCHEMA), path)
    done = folder.call("export", "OUT")
    assert done.exit_code == 1 and "was edited" in done.output, done.output


def test_a_message_commands_no_terminal(folder: Folder) -> None:
    done = folder.call("report", "OUT/\x1b[2Jx")
    assert done.exit_code == 2 and "\\x1b[2Jx" in done.output and "\x1b" not in done.output


def test_rows_are_read_below_the_pools_root_alone(folder: Folder) -> None:
    """A list of shards that names another file: its rows would stand in the report, and leave with an export."""
    path = folder.out / "decisions" / read_manifest(str(folder.out)).decision / "shards.parquet"
    table = pq.read_table(path)
    paths = [f"../secret/{name}" for name in table["path"].to_pylist()]
    pq.write_table(table.set_column(0, "path", [paths]), path)
    assert folder.call("export", "OUT").exit_code == 1
    assert folder.call("report", "OUT").exit_code == 0
    assert "The list of shards can&#39;t be read" in next(folder.out.rglob("report.html")).read_text()


@pytest.mark.parametrize(
    "url", ["reference://x/::/tmp/evil.json", "filecache::file:///etc/*.parquet", "reference:/a/b"]
)
def test_a_pool_that_has_fsspec_take_instructions_is_not_opened(url: str, folder: Folder) -> None:
    folder.edit_summary(_set("facts", "pool", "urls", to=[url]))
    folder.edit(_set("pool", "urls", to=[url]))
    assert folder.call("report", "OUT").exit_code == 0
    assert "no URL of plain files" in next(folder.out.rglob("report.html")).read_text()
    assert "no URL of plain files" in folder.call("export", "OUT").output


def test_a_pool_of_an_unknown_kind_costs_the_samples(folder: Folder) -> None:
    folder.edit_summary(_set("facts", "pool", "kind", to="<script>alert(1)</script>"))
    assert folder.call("report", "OUT").exit_code == 0
    html = next(folder.out.rglob("report.html")).read_text()
    assert "can&#39;t be read" in html and "<script>" not in html


def test_everything_that_the_facts_say_is_escaped_and_bounded(folder: Folder) -> None:
    evil = '"><script>alert(1)</script>'

    def change(data: dict[str, Any]) -> None:
        facts = data["facts"]
        facts["versions"] = [[evil, evil]]
        facts["gaps"] = [evil]
        facts["source"] = {"path": evil, "parameters": [[evil, evil]]}
        facts["pool"]["root"] = facts["pool"]["id"] = evil
        facts["recipe"] = json.dumps({evil: evil})
        facts["scorers"][0]["files"] = [[evil, evil]]
        data["samples"]["reason/kept"] = [_sample("s", "", "u" * 1_000_000, {"x": "y" * 1_000_000})] * 20

    folder.edit_summary(change)
    assert folder.call("report", "OUT").exit_code == 0
    html = next(folder.out.rglob("report.html")).read_text()
    assert "<script>" not in html and html.count("alert(1)") >= 9 and len(html) < 1_000_000


def test_yaml_is_trusted_like_python_and_its_parameters_are_values(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(YAML)
    given = {"pool": f"{folder.root}/pool", "words": "3", "fraction": "0.5"}
    api.run(path, folder.out, params=given)
    assert api.decide(None, folder.out, params={"fraction": 0.2}).counts.rows_in == 100
    for evil in ('3, reason: x}\n  - "datacomp.basic": {', "{a: 1}", "[[1]]", '3", reason: "x'):
        folder.edit(_set("source", "parameters", "words", to=evil))
        with pytest.raises(PlanError, match="more than a value"):
            api.decide(None, folder.out)
    folder.edit(_set("source", "parameters", "words", to="3"))
    folder.edit(_set("source", "text", to=YAML + "# evil\n"))
    with pytest.raises(PlanError, match="something else"):
        api.decide(None, folder.out)
    assert api.decide(None, folder.out, trust_recipe=True).counts.rows_in == 100


@pytest.mark.parametrize(
    ("value", "fine"),
    [
        ("3", True),
        ("s3://a/{00..99}.tar", True),
        ("[en, de]", True),
        ("a b: c", False),
        ("x\n  storage_options: {a: b}", False),
        ("x, storage_options: {a: b}", False),
        ("x}\nstages: []\nother: {", False),
        ("[[a]]", False),
        ("&a [*a]", False),
        ("{a: b}", False),
        ("!!set {a}", False),
        ("!!pairs [a: 1]", False),
        ("2026-01-01", True),
    ],
)
def test_a_parameter_only_fills_in_a_value(value: str, fine: bool) -> None:
    flow, block = "pool: {jsonl: ${p}, text: text}\nstages: []\n", "pool:\n  jsonl: ${p}\n  text: text\nstages: []\n"
    assert only_values(block, {"p": value}) is fine
    assert only_values(flow, {"p": value}) is (fine and "{" not in value)


def test_a_source_says_what_it_found(tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    path.write_bytes(b"a = '\xc3\xa4'\r\n")
    source = RecipeSource.read(str(path))
    assert source.unlike_files("/out") is None and source.unlike_files("memory://out") is None
    path.write_bytes(b"a = '\xc3\xa4'\n")
    assert "something else" in (source.unlike_files("/out") or "")
