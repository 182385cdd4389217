"""What a user reads when something is wrong: one message with the file, the line and the thing, never a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import poolsieve
from poolsieve.jobs.cli import main
from tests import forked
from tests.conftest import ledger

POOLSIEVE = str(Path(sys.executable).parent / "poolsieve")

HEAD = """pool: {parquet: "${pool}/*.parquet", uid: uid, text: text}
stages:
"""
"""Of a recipe whose first stage stands in line 3."""

BASE = "from poolsieve.dataflow import Pool\nfrom poolsieve.filters import *\nfrom poolsieve.scoring_models import *\n"
"""Of a recipe that begins in line 4; `pool` is a pool."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of 30 rows, with columns of every kind."""
    folder = tmp_path_factory.mktemp("messages") / "pool"
    folder.mkdir()
    for part in range(2):
        n = range(30)
        table = {
            "uid": [f"{100 * part + i:032x}" for i in n],
            "text": ["word " * (i % 7) for i in n],
            "flag": pa.array([None if i == 4 else i % 3 == 0 for i in n]),
            "[/x]": list(n),
            "meta": [{"note": "a"} for _ in n],
            "many": [[1, 2] for _ in n],
            "quality": pa.array([i / 30 for i in n], pa.float32()),
            "tokens": [10 * i for i in n],
            "lang": [("en", "de")[i % 2] for i in n],
        }
        pq.write_table(pa.table(table), folder / f"part-{part}.parquet")
    return folder


def said(*words: object, status: int) -> str:
    """What the command line says on both streams; nothing may reach the user as a trace."""
    made = CliRunner().invoke(main, [str(word) for word in words])
    if made.exception is not None and not isinstance(made.exception, SystemExit):
        raise made.exception
    assert made.exit_code == status, made.output
    assert "Traceback" not in made.output
    return made.output


# What stands in line 3 -> what the message names.
STAGES: list[tuple[str, str]] = [
    ("  - keep: {score: text.word_count, is_in: 5}", "`is_in` is a list of values"),
    ("  - keep: {score: text.word_count, is_in: en}", "`is_in` is a list of values"),
    ("  - keep: {score: text.word_count, is_in: {a: 1}}", "`is_in` is a list of values"),
    ("  - keep: {score: text.word_count, is_in: [[1]]}", "[1] is no number"),
    ("  - keep: {score: text.word_count, is_in: [a]}", "are no values of text.word_count"),
    ("  - keep: {score: text.word_count, is_in: [99999999999999999999999]}", "are no values of text.word_count"),
    ("  - keep: {score: 5, at_least: 5}", "name of a score or column, not 5"),
    ("  - keep: {score: [], at_least: 5}", "name of a score or column, not []"),
    ("  - keep: {score: '', at_least: 5}", "name of a score or column, not ''"),
    ("  - keep: {score: text.word_count, at_least: }", "can't compare col('text.word_count') with None"),
    ("  - keep: {score: text.word_count, at_least: [5]}", "with [5] (list)"),
    ("  - keep: {score: text.word_count, at_least: {a: 5}}", "(dict)"),
    ("  - keep: {score: text.word_count, at_least: 2024-01-31}", "(date)"),
    ("  - keep: {score: text.word_count, at_least: .nan}", "with nan"),
    ("  - keep: {score: text.word_count, at_least: five}", "compares text.word_count (int32) with 'five'"),
    ("  - keep: {score: text.word_count, at_least: true}", "compares text.word_count (int32) with True"),
    ("  - keep: {score: text, at_least: 5}", "compares text (string) with 5"),
    ("  - keep: {score: meta, at_least: 5}", "column 'meta' is struct"),
    ("  - keep: {score: many, at_least: 5}", "column 'many' is list"),
    ("  - keep: {score: quality, atleast: 5}", "Did you mean 'at_least'"),
    ("  - keep: {score: qualty, at_least: 5}", "Did you mean 'quality'"),
    ("  - keep: {score: quality, at_least: 5, at_most: 6}", "exactly one of"),
    ("  - keep: {at_least: 5}", "needs `score`"),
    ("  - keep: {score: quality, at_least: 5, reason: 7}", "`reason: 7`: expected `str | null`"),
    ("  - keep: {score: quality, at_least: 5, reason: [a]}", "`reason: ['a']`"),
    ("  - keep: {score: quality, at_least: 5, reason: a b}", "reason 'a b' must be dotted words"),
    ("  - keep: {score: quality, at_least: 5, 7: 8}", "7 is no name"),
    ("  - keep:", "needs `score`"),
    ("  - keep: []", "`name: value` pairs, not []"),
    ("  - keep: 0", "`name: value` pairs, not 0"),
    ("  - keep: ''", "`name: value` pairs, not ''"),
    ("  - drop: 3", "`name: value` pairs, not 3"),
    ("  - 5", "expected one name with its arguments"),
    ("  - ", "expected one name with its arguments"),
    ("  - [keep]", "expected one name with its arguments"),
    ("  - {keep: {score: a, at_least: 1}, drop: {score: a, at_least: 1}}", "expected one name with its arguments"),
    ("  - {5: {}}", "expected one name with its arguments"),
    ("  - kep: {score: a}", "Did you mean 'keep'"),
    ("  - top: 3", "`name: value` pairs, not 3"),
    ("  - top: {fraction: 0.1}", "missing 1 required positional argument: 'name'"),
    ("  - top: {name: quality}", "exactly one of fraction, count, budget, tau"),
    ("  - top: {name: 5, fraction: 0.1}", "`name: 5`: expected `str`, got `int`"),
    ("  - top: {name: quality, fraction: [0.1]}", "[0.1]"),
    ("  - top: {name: quality, fraction: 15}", "for 15 % write fraction=0.15"),
    ("  - top: {name: quality, fraction: lots}", "'lots'"),
    ("  - top: {name: quality, count: 1.5}", "count"),
    ("  - top: {name: quality, count: -1}", "count=-1"),
    ("  - top: {name: quality, budget: 5}", "budget"),
    ("  - top: {name: quality, budget: nan tokens}", "budget='nan tokens'"),
    ("  - top: {name: quality, budget: 1e999999999 tokens}", "budget='1e999999999 tokens'"),
    ("  - top: {name: quality, budget: 5 tokns}", "Did you mean 'tokens'"),
    ("  - top: {name: quality, budget: {en: 5 tokens}}", "`by` go together"),
    ("  - top: {name: quality, budget: {en: 5}, by: lang}", "budget"),
    ("  - top: {name: quality, fraction: 0.1, by: [lang]}", "`by: ['lang']`"),
    ("  - top: {name: quality, fraction: 0.1, seed: x}", "`seed: 'x'`"),
    ("  - top: {name: quality, fraction: 0.1, seed: 99999999999999999999}", "seed"),
    ("  - top: {name: quality, fraction: 0.1, ties: all}", "ties='all'"),
    ("  - top: {name: quality, fraction: 0.1, fracton: 0.1}", "fracton"),
    ("  - top: {name: lang, fraction: 0.1}", "can't rank scores of type string"),
    ("  - above: {name: quality}", "limit"),
    ("  - above: {name: quality, limit: x}", "limit"),
    ("  - above: {name: quality, limit: {en: 1}}", "`by` go together"),
    ("  - above: {name: quality, limit: {en: {}}, by: lang}", "limit"),
    ("  - in: {path: 5}", "`path: 5`"),
    ("  - in: {path: /nowhere/list.txt}", "/nowhere/list.txt"),
    ("  - score: 5", "`name: value` pairs, not 5"),
    ("  - score: {}", "at least one scorer"),
    ("  - score: {a: 5}", "expected one name with its arguments"),
    ("  - score: {a: Clipp}", "Did you mean 'Clip'"),
    ("  - score: {a: {Clip: 5}}", "`name: value` pairs, not 5"),
    ("  - score: {a: {Clip: {model: 5}}}", "`model: 5`"),
    ("  - score: {a: {Clip: {model: nowhere}}}", "hf-hub"),
    ("  - score: {a: {Tokens: {tokenizer: []}}}", "`tokenizer: []`"),
    ("  - score: {a: {Tokens: {tokenizr: x}}}", "tokenizr"),
    ("  - score: {text.word_count: {Tokens: {tokenizer: [x]}}}", "`tokenizer: ['x']`"),
    ("  - edit: {text: {Mask: {}}}", "Did you mean 'Masked'"),
    ("  - edit: {text: 7}", "expected one name with its arguments"),
    ("  - edit: {}", "at least one role"),
    ("  - any_of: {rules: []}", "two keys"),
    ("  - any_of: {rules: [], reason: a.b}", "needs at least one rule"),
    ("  - any_of: {rules: 5, reason: a.b}", "two keys"),
    ("  - any_of: {rules: [5], reason: a.b}", "rule 1"),
    ("  - any_of: {rules: [{keep: {score: quality, at_least: x}}], reason: 5}", "`reason: 5`"),
    ("  - any_of: {rules: [{score: {a: ImageSize}}], reason: a.b}", "takes rules only"),
    ("  - gopher.qualty", "Did you mean 'gopher.quality'"),
    ("  - gopher.quality: {min_words: many}", "`min_words: 'many'`"),
    ("  - gopher.quality: {text: meta}", "it is struct<note: string>: name a field in it"),
    ("  - gopher.quality: {text: tokens}", "it is int64: name a column of text"),
    ("  - gopher.quality: {text: [text]}", "`text: ['text']`"),
    ("  - decontaminate: {benchmarks: 5}", "benchmarks"),
    ("  - decontaminate: {benchmarks: {arc: 5}}", "exactly one of"),
    ("  - decontaminate: {benchmarks: {arc: {parquet: 5}}}", "list of files"),
    ("  - dsir: {target: {parquet: 5}, raw: {parquet: x}}", "list of files"),
    ("  - dsir: {target: wiki.parquet, raw: {parquet: x}}", "Dsir(target='wiki.parquet'): give a pool"),
    ("  - keep: {score: quality, at_least: 5, at_least: 6}", "'at_least' is given twice"),
    ("  - keep: {score: quality, at_least: [}", "expected the node content"),
    ("  - keep: {score: quality, at_least: !!python/object:os.system {}}", "could not determine a constructor"),
    ("  - keep: {score: quality, at_least: 2024-13-01}", "month must be in 1..12"),
    ("  - keep: {score: quality, at_least: ${min}}", "needs a parameter 'min'"),
    ("  - keep: {score: quality, at_least: $5}", "a $ begins a parameter"),
    ("  - keep: &a {score: *a, at_least: 5}", "refers to itself"),
    ("  - keep: {score: quality, at_least: *b}", "undefined alias 'b'"),
    ("  - keep: {[1, 2]: 5}", "unhashable key"),
    ("  - keep: {score: \u0007}", "special characters are not allowed"),
    ("\t- keep", "cannot start any token"),
]


@pytest.mark.parametrize(("stage", "message"), STAGES, ids=range(len(STAGES)))
def test_wrong_yaml_stages_are_named_with_their_line(stage: str, message: str, pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(HEAD + stage + "\n")
    text = said("plan", path, "--out", tmp_path / "out", "-p", f"pool={pool}", status=2)
    assert f"{path}, line 3" in text
    assert message in text


FILES: list[tuple[str, str, str]] = [
    ("", "line 1", "two keys"),
    ("5", "line 1", "two keys"),
    ("[1, 2]", "line 1", "two keys"),
    ("pool: {parquet: x}", "line 1", "two keys"),
    ("pool: {parquet: x}\nstages: []\nstage: []", "line 1", "two keys"),
    ("pool: {parquet: x}\n\nstages: 5", "line 3", "`stages` is a list"),
    ("stages: []\npool: 5", "line 2", "exactly one of"),
    ("stages: []\npool:", "line 2", "exactly one of"),
    ("stages: []\npool: {parqet: x}", "line 2", "exactly one of"),
    ("stages: []\npool: {parquet: x, jsonl: y}", "line 2", "exactly one of"),
    ("stages: []\npool:\n  text: text\n  parquet:", "line 4", "list of files"),
    ("stages: []\npool:\n  text: text\n  parquet: 5", "line 4", "list of files"),
    ("stages: []\npool:\n  text: text\n  parquet: [5]", "line 4", "list of files"),
    ("stages: []\npool:\n  text: text\n  parquet: []", "line 4", "list of files"),
    ("stages: []\npool:\n  text: text\n  parquet: {a: b}", "line 4", "list of files"),
    ("stages: []\npool:\n  parquet: x\n  text: 5", "line 4", "`text: 5`"),
    ("stages: []\npool:\n  parquet: x\n  text: [text]", "line 4", "`text: ['text']`"),
    ("stages: []\npool:\n  parquet: x\n  text: ''", "line 3", "role 'text' needs the name of a column"),
    ("stages: []\npool:\n  parquet: x\n  allow_gaps: maybe", "line 4", "`allow_gaps: 'maybe'`"),
    ("stages: []\npool:\n  parquet: x\n  split_bytes: big", "line 4", "`split_bytes: 'big'`"),
    ("stages: []\npool:\n  parquet: x\n  5: text", "line 4", "5 is no name"),
    ("pool: {parquet: x}\npool: {parquet: y}\nstages: []", "line 2", "'pool' is given twice"),
    ("pool: {parquet: x}\nstages: [" + "[" * 3000, "line 1", "too deeply"),
    ("---\npool: {parquet: x}\n---\nstages: []", "line 3", "expected a single document"),
]


@pytest.mark.parametrize(("text", "line", "message"), FILES, ids=range(len(FILES)))
def test_wrong_yaml_files_are_named_with_their_line(text: str, line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    told = said("plan", path, "--out", tmp_path / "out", status=2)
    assert message in told
    assert f"{path}, {line}" in told


def test_ten_lines_of_aliases_are_not_a_billion_values(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    path = tmp_path / "recipe.yaml"
    path.write_text("\n".join(lines))
    assert "at most 100,000 values" in said("plan", path, "--out", tmp_path / "out", status=2)


PYTHON: list[tuple[str, str]] = [
    ("recipe = Pool.jsonl(['a', 'b'])", "give several URLs one by one"),
    ("recipe = Pool.jsonl(5)", "Pool.jsonl(5): expected a path or URL"),
    ("recipe = Pool.jsonl(None)", "Pool.jsonl(None)"),
    ("recipe = Pool.jsonl('')", "Pool.jsonl('')"),
    ("recipe = Pool.jsonl()", "at least one URL"),
    ("recipe = Pool.jsonl('a', text=5)", "role text=5"),
    ("recipe = Pool.jsonl('a', text=['x'])", "role text=['x']"),
    ("recipe = Pool.jsonl('a', split_bytes='1')", "split_bytes='1'"),
    ("recipe = Pool.jsonl('a', allow_gaps=1)", "allow_gaps=1"),
    ("recipe = pool | [Keep(col('text').word_count() >= 1)]", "chain several with |"),
    ("recipe = pool | gopher.quality", "call it, as quality(...)"),
    ("recipe = pool | 5", "can't add 5"),
    ("recipe = pool | (Keep(col('quality') >= 1) | 'x')", "can't chain 'x'"),
    ("recipe = pool | Keep(col('text').contains('a'))", "col('text') has no 'contains'"),
    ("recipe = pool | Keep(col('text').word_cout() > 3)", "Did you mean 'word_count'"),
    ("recipe = pool | Keep(col('quality').is_in('en'))", "is_in('en')"),
    ("recipe = pool | Keep(col('quality').is_in(5))", "is_in(5)"),
    ("recipe = pool | Keep(col(5) >= 1)", "name of a score or column, not 5"),
    ("recipe = pool | Keep(col('quality') >= [1])", "with [1] (list)"),
    ("recipe = pool | Keep(5)", "Keep() takes a comparison"),
    ("recipe = pool | Keep(lambda x: x)", "Keep(lambda ...)"),
    ("recipe = pool | Keep(col('text'))", "compares text (string) with True"),
    ("recipe = pool | Keep(~col('quality'))", "compares quality (float) with False"),
    ("recipe = pool | Keep(col('text') + 1 >= 2, reason='a.b')", "computes with text (string)"),
    ("recipe = pool | Keep(col('quality') - 'x' >= 2, reason='a.b')", "computes with 'x'"),
    ("recipe = pool | Keep(col('quality') >= 1, reason=5)", "reason 5"),
    ("recipe = pool | (Keep(col('quality') >= 1) if col('quality') >= 1 else 0)", "no truth value"),
    ("recipe = pool | Top(5, fraction=0.1)", "Top(5)"),
    ("recipe = pool | Top('quality', fraction=0.1, by=['lang'])", "by=['lang']"),
    ("recipe = pool | Top('quality', fraction=0.1, seed='x')", "seed='x'"),
    ("recipe = pool | Top('quality', fraction=0.1, lowest=1)", "lowest=1"),
    ("recipe = pool | Top('quality', fraction=0.1, of=['pool'])", "of=['pool']"),
    ("recipe = pool | Top('quality', budget='inf tokens')", "budget='inf tokens'"),
    ("recipe = pool | Top('quality', budget='5 tokens', ties='include')", "could exceed a budget"),
    ("recipe = pool | any_of([Keep(col('quality') >= 1)], reason='a.b')", "any_of() takes rules"),
    ("recipe = pool | any_of(reason='a.b')", "at least one rule"),
    ("recipe = pool | Score(a=ImageSize)", "call it, as ImageSize(...)"),
    ("recipe = pool | Score(a=5)", "takes a scorer, not 5"),
    ("recipe = pool | Score(a=Tokens(5))", "TypeError"),
    ("recipe = pool | Score(a=Language(text=5))", "text=5"),
    ("recipe = pool | Score(a=Clip('hf-hub:x/y', batch_size='8'))", "TypeError"),
    ("recipe = pool | Edit(text=5)", "Edit(text=...) takes a function or an editor, not 5"),
    ("recipe = pool | Drop(In('/nowhere/list.txt'))", "/nowhere/list.txt"),
    ("recipe = pool | gopher.quality(text='meta')", "name a field in it"),
    ("recipe = pool | Keep(col('meta').word_count() >= 1)", "name a field in it"),
    ("recipe = pool | Keep(col('tokens').word_count() >= 1)", "name a column of text"),
    ("recipe = 5", "has a `recipe` that is int"),
    ("recipe = Keep(col('quality') >= 1)", "has a `recipe` that is Rule"),
    ("other = 5", "defines no `recipe`"),
    ("recipe = [", "SyntaxError"),
    ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
    ("import sys; sys.exit(0)", "SystemExit"),
    ("recipe = 1 / 0", "ZeroDivisionError"),
    ("def recipe(): return 5", "recipe() that returns int"),
    ("def recipe(): return 1 / 0", "ZeroDivisionError"),
    ("def recipe(): return pool | Top('quality')", "exactly one of"),
    ("def recipe(n): return pool", "add -p n=VALUE"),
    ("recipe = print", "recipe"),
    ("recipe = pool | Top('quality', fraction=0.1, by=print)", "by=<built-in function print>"),
    ("recipe = pool | Edit(text=Masked)", "call it, as Masked()"),
    (
        "def own(text): return text\nrecipe = pool | Score(n=scorer(own, reads=('text',), columns={own: 'float32'}))",
        "needs columns by name",
    ),
    (
        "def own(text): return text\nrecipe = pool | Score(n=scorer(own, reads='text', columns={'n': 'float32'}))",
        "reads=('text',)",
    ),
    (
        "def own(text): return text\nrecipe = pool | Score(n=scorer(own, reads=(own,), columns={'n': 'float32'}))",
        "reads=(<function own",
    ),
    (
        "def own(text): return text\nrecipe = pool | Score(n=scorer(own, reads=('text',), columns={'n': 'floot'}))",
        "column 'n' can't be 'floot'",
    ),
    (
        "def own(text): return text\nrecipe = pool | Score(n=scorer(own, reads=('text',), columns={'n': own}))",
        "column 'n' can't be <function own",
    ),
    (
        "def own(text): return text\nrecipe = pool | Score(n=scorer(own, reads=('text',), columns={}))",
        "needs columns by name",
    ),
]


@pytest.mark.parametrize(("line", "message"), PYTHON, ids=range(len(PYTHON)))
def test_wrong_python_is_named_with_its_file(line: str, message: str, pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    path.write_text(f"{BASE}pool = Pool.parquet({str(pool)!r} + '/*.parquet', uid='uid', text='text')\n{line}\n")
    told = said("plan", path, "--out", tmp_path / "out", status=2)
    assert str(path) in told
    assert message in told


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["n=["], "-p n=["),
        (["n=two"], "-p n=two: expected `int`, got `str`"),
        (["n=2024-13-01"], "-p n=2024-13-01"),
        (["m=3"], "recipe() has no parameter 'm'"),
        (["n"], "write NAME=VALUE"),
        (["n=1", "n=2"], "given twice"),
        (["pool=a", "n=" + "[" * 2000], "-p n="),
    ],
)
def test_wrong_parameters(parameters: list[str], message: str, pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    path.write_text(f"{BASE}def recipe(pool: str = {str(pool)!r}, n: int = 3):\n    return Pool.parquet(pool)\n")
    given = [word for item in parameters for word in ("-p", item)]
    assert message in said("plan", path, "--out", tmp_path / "out", *given, status=2)


def test_a_parameter_without_a_kind_takes_any(pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    path.write_text(
        f"{BASE}def recipe(least):\n    return Pool.parquet('{pool}/*.parquet') | Above('quality', least)\n"
    )
    for value in ("0.5", "1"):
        said("plan", path, "--out", tmp_path / "out", "-p", f"least={value}", status=0)


def test_a_parameter_that_yaml_does_not_use(pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(HEAD + "  - keep: {score: quality, at_least: 0.5}\n")
    given = ("-p", f"pool={pool}", "-p", "min=3")
    assert "has no parameter 'min'" in said("plan", path, "--out", tmp_path / "out", *given, status=2)


def test_a_sibling_module_asks_for_include(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "helpers_of_mine.py").write_text("LEAST = 3\n")
    path = tmp_path / "recipe.py"
    line = f"recipe = Pool.parquet('{pool}/*.parquet', text='text') | Keep(col('tokens') >= LEAST)\n"
    path.write_text(f"{BASE}from helpers_of_mine import LEAST\n{line}")
    told = said("plan", path, "--out", tmp_path / "out", status=2)
    assert f"{path}, line 4" in told
    assert f"add --include {tmp_path}/helpers_of_mine.py" in told
    said("plan", path, "--out", tmp_path / "out", "--include", tmp_path / "helpers_of_mine.py", status=0)


def test_a_folder_as_pool(pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    path.write_text(f"{BASE}recipe = Pool.parquet({str(pool)!r}) | Keep(col('quality') >= 0.5)\n")
    told = said("plan", path, "--out", tmp_path / "out", status=2)
    assert f"{pool} is a folder: name its files, as {pool}/*" in told


def test_columns_that_look_like_markup(pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    path.write_text(f"{BASE}recipe = Pool.parquet('{pool}/*.parquet') | Keep(col('[/x]') >= 3, reason='x.small')\n")
    assert "[/x]" in said("plan", path, "--out", tmp_path / "out", status=0)


def run(pool: Path, out: Path, rule: object) -> poolsieve.Run:
    from poolsieve.dataflow import Pool

    return poolsieve.run(Pool.parquet(f"{pool}/*.parquet", uid="uid") | rule, out)  # type: ignore[operator]


def test_a_boolean_column_is_a_rule(pool: Path, tmp_path: Path) -> None:
    from poolsieve.filters import Drop, Keep, any_of, col

    flags = pa.concat_tables(pq.read_table(path) for path in sorted(pool.iterdir())).column("flag").to_pylist()
    rules = {
        "keep": (Keep(col("flag")), [flag is True for flag in flags]),
        "not": (Keep(~col("flag")), [flag is False for flag in flags]),
        "drop": (Drop(col("flag")), [flag is False for flag in flags]),
        "both": (Keep(col("flag") & (col("tokens") >= 100), reason="a.b"), None),
        "any": (any_of(col("flag"), Keep(col("tokens") >= 9999), reason="a.b"), [flag is True for flag in flags]),
    }
    for name, (rule, wanted) in rules.items():
        run(pool, tmp_path / name, rule)
        kept = ledger(tmp_path / name).column("keep").to_pylist()
        assert kept == wanted if wanted else 0 < sum(kept) < sum(flag is True for flag in flags), name
    assert Keep(col("flag")).to_dict() == Keep(col("flag") == True).to_dict()  # noqa: E712


def test_drop_of_a_rule_is_the_rule_inverted(tmp_path: Path) -> None:
    from poolsieve.filters import Drop, In, Keep

    (tmp_path / "list.txt").write_text("a\n")
    assert Drop(In(str(tmp_path / "list.txt"))) == ~In(str(tmp_path / "list.txt"))
    assert Keep(In(str(tmp_path / "list.txt"))) == In(str(tmp_path / "list.txt"))


def test_a_set_of_values_is_one_decision_in_every_process() -> None:
    command = "from poolsieve.filters import col; print(col('x').is_in({'en', 'de', 'fr', 'it'}).to_dict())"
    seen = {
        subprocess.run(
            [sys.executable, "-c", command],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            check=True,
            capture_output=True,
        ).stdout
        for seed in range(3)
    }
    assert len(seen) == 1


def test_a_budget_that_keeps_nothing_of_a_group_says_so(pool: Path, tmp_path: Path) -> None:
    from poolsieve.filters import Top

    path = tmp_path / "recipe.py"
    budget = {"en": "5 tokens", "de": "500 tokens"}
    path.write_text(
        f"{BASE}recipe = Pool.parquet('{pool}/*.parquet', uid='uid') | "
        f"Keep(col('tokens') >= 10) | Top('quality', by='lang', budget={budget})\n"
    )
    wanted = "keeps no row of group 'en': every row that has a score weighs more than the whole budget of 5"
    assert wanted in said("run", path, "--out", tmp_path / "out", status=0)
    assert wanted in said("decide", path, "--out", tmp_path / "out", "--what-if", status=0)
    found = poolsieve.open(tmp_path / "out")
    assert wanted.partition(": ")[2] in Path(found.report).read_text()
    kept = ledger(tmp_path / "out").filter(pa.compute.field("keep"))
    assert set(kept.column("lang").to_pylist()) == {"de"}
    rule = Top("quality", by="lang", budget={"en": "0 tokens", "de": "5 tokens"})
    with pytest.warns(UserWarning, match="no row of group 'de'") as warned:
        run(pool, tmp_path / "python", rule)
    assert not any("'en'" in str(one.message) for one in warned)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda cut: {**cut, "value": 0.25}, "write Above(...) or Below(...)"),
        (lambda cut: {**cut, "key": "xyz"}, "invalid literal"),
        (lambda cut: {**cut, "k": "many"}, "Expected `int`"),
        (lambda cut: {**cut, "kind": "best"}, "kind is 'best'"),
        (lambda cut: {**cut, "lowest": True}, "value"),
        (lambda cut: {**cut, "more": 1}, "unknown field 'more'"),
        (lambda cut: {name: value for name, value in cut.items() if name != "key"}, "'key' is missing"),
        (lambda cut: [], "cuts.json"),
        (lambda cut: None, "cuts.json"),
        (lambda cut: 5, "cuts.json"),
    ],
)
def test_edited_cuts_are_refused(edit: Callable[[object], object], message: str, pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    path.write_text(f"{BASE}recipe = Pool.parquet('{pool}/*.parquet', uid='uid') | Top('quality', fraction=0.5)\n")
    made = poolsieve.run(path, tmp_path / "out")
    cuts = json.loads(Path(f"{made.url}/decisions/{made.decision}/cuts.json").read_text())
    cuts["quality.below_cut"][""] = edit(cuts["quality.below_cut"][""])
    (tmp_path / "edited.json").write_text(json.dumps(cuts))
    told = said("run", path, "--out", tmp_path / "new", "--cuts", tmp_path / "edited.json", status=2)
    assert message in told and "edited.json" in told


def test_cuts_of_another_rule_are_refused(pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    top = f"{BASE}recipe = Pool.parquet('{pool}/*.parquet', uid='uid') | Top("
    path.write_text(f"{top}'quality', fraction=0.5, by='lang', reason='a.b')\n")
    made = poolsieve.run(path, tmp_path / "out")
    cuts = f"{made.url}/decisions/{made.decision}/cuts.json"
    for rule, message in (
        ("'tokens', fraction=0.5, by='lang', reason='a.b')", "scores of 32 bits, and 'tokens' is int64"),
        ("'quality', fraction=0.5, by='lang', lowest=True, reason='a.b')", "lowest"),
        ("'quality', fraction=0.5, reason='a.b')", "has groups"),
    ):
        path.write_text(f"{top}{rule}\n")
        assert message in said("run", path, "--out", tmp_path / "new", "--cuts", cuts, status=2)


@pytest.mark.parametrize("value", ["../..", "", "x", "..", "0123456789abcdeg"])
def test_a_manifest_whose_decision_is_no_name_is_refused(value: str, pool: Path, tmp_path: Path) -> None:
    from poolsieve.filters import Above

    made = run(pool, tmp_path / "out", Above("quality", 0.5))
    path = Path(made.url) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "decision": value}))
    assert "manifest.json is damaged" in said("prune", made.url, "--yes", status=2)
    assert Path(made.report).exists()


def test_a_damaged_scorer_json_is_named(pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    path.write_text(f"{BASE}recipe = Pool.parquet('{pool}/*.parquet', uid='uid', text='text') | gopher.quality()\n")
    made = poolsieve.run(path, tmp_path / "out")
    settings = next((tmp_path / "out" / "scores").glob("*/scorer.json"))
    for text in ("", "[]", '{"settings": 5}', "5"):
        settings.write_text(text)
        assert str(settings) in said("run", path, "--out", made.url, status=1)


SLOW = """
import time

def slow(text):
    time.sleep(0.4)
    return [float(len(value)) for value in text.to_pylist()]

measured = scorer(slow, reads=("text",), columns={"n": "float32"}, holds_gil=True)
recipe = Pool.jsonl("POOL/*.jsonl", uid="id", text="text") | Score(n=measured) | Keep(col("n") >= 10)
"""


def test_sigterm_stops_worker_processes_and_the_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    for shard in range(30):
        line = json.dumps({"id": f"{shard}", "text": "word " * shard})
        (tmp_path / "pool" / f"{shard:02d}.jsonl").write_text(line + "\n")
    path = tmp_path / "recipe.py"
    path.write_text(BASE + SLOW.replace("POOL", str(tmp_path / "pool")))
    command = [POOLSIEVE, "run", str(path), "--out", str(tmp_path / "out"), "--workers", "2"]
    process = forked.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    rows = tmp_path / "out" / "rows"
    end = time.monotonic() + 120  # a machine that is busy with other tests starts slowly
    while len(list(rows.glob("*.parquet"))) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()
    assert len(workers_of(process.pid)) >= 2, processes()
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)  # the workers hold the pipe as long as they live
    assert process.returncode == 143, told
    assert "Traceback" not in told and "the same command goes on" in told
    assert time.monotonic() - start < 30
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert "30 rows in" in said(*command[1:5], status=0)


def workers_of(pid: int) -> list[str]:
    return [line for line in processes() if f"poolsieve.dataflow.runners.worker {pid}" in line]


def processes() -> list[str]:
    """Of this machine; `ww`: whole lines, where COLUMNS would cut them off."""
    return subprocess.run(["ps", "-wweo", "pid,args"], check=True, capture_output=True, text=True).stdout.splitlines()


def test_a_worker_ends_when_nobody_has_waited_for_its_dead_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    watch = f"from poolsieve.dataflow.runners.worker import watch_parent; watch_parent({parent.pid}, 0.05)"
    worker = subprocess.Popen([sys.executable, "-c", watch])
    time.sleep(1.5)
    assert worker.poll() is None
    parent.kill()  # a zombie from here on: it is not waited for
    assert worker.wait(timeout=20) == 1
    parent.communicate()


def test_a_reader_that_leaves_is_no_error(pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.py"
    path.write_text(f"{BASE}recipe = Pool.parquet('{pool}/*.parquet', uid='uid') | Keep(col('quality') >= 0.5)\n")
    read, write = os.pipe()
    os.close(read)
    command = [POOLSIEVE, "plan", str(path), "--out", str(tmp_path / "out")]
    made = subprocess.run(command, check=False, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (made.returncode, made.stderr) == (141, "")
