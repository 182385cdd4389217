"""How texts that are written by hand or by us go wrong: recipes by their tokens, JSON by its structure."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from tests.fuzz.mutators import Input, mutant

PYTHON = """
from poolsieve.dataflow import Pool
from poolsieve.filters import Drop, Edit, In, Keep, Masked, Score, Top, all_of, any_of, col, gopher, scorer, smaller
import pyarrow.compute as pc

def letters(text):
    return pc.utf8_length(text)

def recipe(words: int = 2, fraction="0.4", reason: str = "caption.short"):
    return (
        Pool.parquet("pool/part-{000..002}.parquet", uid="uid", text="text", width="original_width", h="original_height")
        | Keep(col("text").word_count() >= words, reason=reason)
        | Score(letters=scorer(letters, reads=("text",), columns={"n": "float32"}, version=1))
        | any_of(Keep(smaller(col("width"), col("h")) >= 100, "small"), ~Keep(col("letters") > 3, "long"), reason="any")
        | Edit(text=Masked())
        | Drop(col("text").char_count().is_in([1, 2]), reason="chars")
        | Top("clip", fraction=fraction, of="pool", rank="alive", by=None, ties="hash")
    )
"""

YAML = """
pool:
  parquet: ["pool/part-{000..002}.parquet"]
  uid: uid
  text: text
  width: original_width
stages:
  - keep: {score: text.word_count, at_least: 2, reason: caption.short}
  - any_of: {rules: [{keep: {score: width, more_than: 100, reason: w}}, {drop: {score: clip, at_most: 0.1}}], reason: any}
  - edit: {text: {Masked: {}}}
  - gopher.repetition: {}
  - score: {size: {PersonalData: {}}}
  - keep: {score: text.char_count, is_in: [10, 20, 30], reason: chars}
  - top: {name: clip, fraction: 0.4, of: pool}
"""

_TOKENS = ["None", "True", "-1", "0", "1e400", "[]", "{}", "()", '""', "'x'", "*", "**", "~", "|", "lambda x: x", "col"]
_TOKENS += [
    '["a", "b"]',
    "recipe",
    "...",
    "1j",
    "b'x'",
    '"\\ud800"',
    "99999999999999999999",
    "[[1]]",
    '"{0..9}"',
    "null",
]
_TOKENS += [
    '"../x"',
    '"/x/*"',
    '"uid"',
    "float('nan')",
    "Pool",
    "text",
    "letters",
    "- ",
    ": ",
    "&a",
    "*a",
    "!!python/object:x",
]


def recipe_mutant(r: Random, text: str) -> bytes:
    """A recipe with some tokens taken out, doubled, swapped or replaced; one in five with damaged bytes."""
    if r.random() < 0.2:
        return mutant(r, Input(data=text.encode()), {}).data
    tokens = re.findall(r"\w+|\"[^\"\n]*\"|\s+|.", text, re.DOTALL)
    for _ in range(r.choice((1, 1, 2, 4))):
        at, other = r.randrange(len(tokens)), r.randrange(len(tokens))
        what = r.choice(("out", "double", "swap", "odd", "odd", "odd"))
        if what == "out":
            tokens[at] = ""
        elif what == "double":
            tokens[at] *= 2
        elif what == "swap":
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif not tokens[at].isspace():
            tokens[at] = r.choice(_TOKENS)
    return "".join(tokens).encode("utf-8", "surrogatepass")


_ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    10**30,
    "",
    "x",
    "..",
    "../../about/canary",
    "a/../../about/canary/x.txt",
    ".",
]
_ODD += [[], {}, [None], [[]], {"a": 1}, "\0", "a" * 300, "/", "\\", "data/../../x", "nan", float("nan"), "é", "-1"]


def json_mutant(r: Random, data: bytes, canary: str) -> bytes:
    """JSON in which some nodes were replaced, renamed, doubled or taken out; one in four with damaged bytes."""
    try:
        tree = json.loads(data)
    except ValueError:  # damaged before
        tree = None
    if tree is None or r.random() < 0.25:
        return mutant(r, Input(data=data), {}).data
    for _ in range(r.choice((1, 1, 2, 3))):
        holder = r.choice(list(_holders(tree)) or [[]])
        if holder:
            _hit(r, holder, canary)
    return json.dumps(r.choice(_ODD) if r.random() < 0.03 else tree).encode()


def _holders(node: Any) -> Any:
    if isinstance(node, (dict, list)):
        yield node
        for child in node.values() if isinstance(node, dict) else node:
            yield from _holders(child)


def _hit(r: Random, holder: Any, canary: str) -> None:
    key = r.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    what = r.choice(("odd", "odd", "canary", "out", "rename", "number"))
    value = holder[key]
    if what == "out":
        del holder[key]
    elif what == "rename" and isinstance(holder, dict):
        holder[r.choice((f"{key}x", "", "..", canary))] = holder.pop(key)
    elif what == "number" and isinstance(value, (int, float)):
        holder[key] = r.choice((value + 1, -value, value * 10**9, 0, float(value)))
    else:
        holder[key] = canary if what == "canary" else r.choice(_ODD)
