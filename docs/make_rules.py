"""Writes docs/rules.md: what each rule of the ready-made stages keeps, from the code itself.

python docs/make_rules.py
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from poolsieve import filters
from poolsieve.filters import c4, datacomp, fineweb, gopher
from poolsieve.filters.expr import Arithmetic, Column, Compare, IsIn, Literal
from poolsieve.filters.stages import Chain, Rule, Score

PAGE = Path(__file__).parent / "rules.md"
SIGNS = {"less_equal": "≤", "less": "<", "greater_equal": "≥", "greater": ">", "equal": "=", "not_equal": "≠"}
SIGNS |= {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}

STAGES: dict[str, tuple[Any, Chain]] = {
    "datacomp.basic()": (datacomp.basic, datacomp.basic()),
    "gopher.repetition()": (gopher.repetition, gopher.repetition()),
    "gopher.quality()": (gopher.quality, gopher.quality()),
    "c4.quality()": (c4.quality, c4.quality()),
    "fineweb.quality()": (fineweb.quality, fineweb.quality()),
    'language("en")': (filters.language, filters.language("en")),
    "celadon()": (filters.celadon, filters.celadon()),
}
"""How a stage is written -> its function, and the stage with its defaults."""

HEAD = """# Rules

What the ready-made stages keep, with their defaults. This page is made from the code by `python docs/make_rules.py`;
a test fails when it is out of date. Every limit is an argument, and every score is stored, so that a limit can be
moved afterwards without the pool (`poolsieve decide`). Null and NaN never keep a row.
"""


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")


def page() -> str:
    """The page as it should be."""
    return HEAD + "".join(section(name, *made) for name, made in STAGES.items())


def section(name: str, function: Any, stage: Chain) -> str:
    """One stage: what it is, where it is from, its scores and its rules."""
    module = inspect.getmodule(function)
    lines = [f"\n## {name}\n", _first(function), "", _source(module), ""]
    for part in stage.flat():
        if isinstance(part, Score):
            for score, scorer in part.scorers.items():
                lines += [f"Scores `{score}`: {_text(inspect.getdoc(type(scorer)) or '')}", ""]
    lines += ["| dropped with | unless |", "|---|---|"]
    lines += [f"| `{part.reason}` | `{shown(part.predicate)}` |" for part in stage.flat() if isinstance(part, Rule)]
    return "\n".join(lines) + "\n"


def _first(function: Any) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")


def _source(module: Any) -> str:
    paragraphs = (inspect.getdoc(module) or "").split("\n\n")
    return " ".join(paragraphs[1:]).replace("\n", " ") or paragraphs[0]


def _text(doc: str) -> str:
    return " ".join(part.replace("\n", " ") for part in doc.split("\n\n") if not part.startswith("Args:"))


def shown(part: Any) -> str:
    """A predicate or node as people write it."""
    if isinstance(part, Compare):
        return f"{shown(part.left)} {SIGNS[part.op]} {part.limit}"
    if isinstance(part, IsIn):
        return f"{shown(part.left)} in {', '.join(map(str, part.values))}"
    if isinstance(part, Arithmetic):
        left, right = shown(part.left), shown(part.right)
        return f"{part.op}({left}, {right})" if part.op in ("min", "max") else f"{left} {SIGNS[part.op]} {right}"
    if isinstance(part, Column):
        return part.name
    return str(part.value) if isinstance(part, Literal) else type(part).__name__


if __name__ == "__main__":
    main()
