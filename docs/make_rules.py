"""Writes docs/rules.md: what each rule of the ready-made stages keeps, from the code itself.

python docs/make_rules.py
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from poolsieve import filters, scoring_models
from poolsieve.dataflow import Pool
from poolsieve.filters.dsl.derive import Derive
from poolsieve.filters.dsl.expr import AllOf, AnyOf, Arithmetic, Column, Compare, IsIn, Literal, Not
from poolsieve.filters.dsl.ready import Maker, makers, ready_made
from poolsieve.filters.dsl.stages import Rule, Score, Stage
from poolsieve.filters.dsl.top import Ranked
from poolsieve.filters.items.flags import NotTrue
from poolsieve.filters.items.guessing import NotBlindSolvable
from poolsieve.filters.lists import Listed

PAGE = Path(__file__).parent / "rules.md"
SIGNS = {"less_equal": "≤", "less": "<", "greater_equal": "≥", "greater": ">", "equal": "=", "not_equal": "≠"}
SIGNS |= {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}

HEAD = """# Rules

What the ready-made stages keep, with their defaults. This page is made from the code by `python docs/make_rules.py`;
a test fails when it is out of date. Every limit is an argument, and every score is stored, so that a limit can be
moved afterwards without the pool (`poolsieve decide`). Null and NaN never keep a row, but where "unknown" is said.
"""


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")


def page() -> str:
    """The page as it should be."""
    made = [section(make) for make in makers(filters).values()]
    others = [
        f"\n## {kind.__name__}()\n\n{_text(inspect.getdoc(kind) or '')}\n\n{_source(kind)}\n" for kind in classes()
    ]
    return HEAD + "".join([*made, *others])


def classes() -> list[Any]:
    """The scorers and editors of `poolsieve.filters` that have no rule of their own, as a recipe names them."""
    public = [getattr(filters, name) for name in filters.__all__]
    return [made for made in public if inspect.isclass(made) and (hasattr(made, "score") or hasattr(made, "edit"))]


def bound(make: Maker, example: str) -> functools.partial[Stage]:
    """The call of `example`, a `@stage`'s, as its function with all arguments by name."""
    call = ast.parse(example, mode="eval").body
    assert isinstance(call, ast.Call)
    values = [_value(part) for part in call.args]
    named = {str(part.arg): _value(part.value) for part in call.keywords}
    return functools.partial(make, **inspect.signature(make).bind(*values, **named).arguments)


def _value(part: ast.expr) -> Any:
    names = {**vars(scoring_models), **vars(filters), "Pool": Pool}
    return eval(compile(ast.Expression(part), "example", "eval"), names)  # noqa: S307


def section(function: Maker) -> str:
    """One stage: what it is, where it is from, its scores, its rules and its arguments."""
    about = ready_made(function)
    assert about is not None
    make = bound(function, about.example)
    stage, limits = make(), arguments(make)
    lines = [f"\n## {about.example}\n", _first(function), "", _source(function), ""]
    for part in stage.flat():
        if isinstance(part, Score):
            for score, scorer in part.scorers.items():
                lines += [f"Scores `{score}`: {_text(inspect.getdoc(type(scorer)) or '')}", ""]
        if isinstance(part, Derive):
            for derived in part.values.values():
                lines += [f"Derives {_text(inspect.getdoc(type(derived)) or '')}", ""]
    lines += ["| dropped with | unless | argument |", "|---|---|---|"]
    lines += [
        f"| `{rule.reason}` | `{shown(rule.predicate)}` | {', '.join(limits.get(rule.reason, []))} |"
        for rule in rules(stage)
    ]
    described = [f"- `{names}`: {text}" for names, text in described_arguments(function)]
    return "\n".join([*lines, *([""] if described else []), *described]) + "\n"


def rules(stage: Stage) -> list[Rule]:
    """The rules of a stage, in order."""
    return [part for part in stage.flat() if isinstance(part, Rule)]


def arguments(make: functools.partial[Stage]) -> dict[str, list[str]]:
    """Reason -> the arguments that move the rule's limit, found by moving each."""
    plain, found = {rule.reason: shown(rule.predicate) for rule in rules(make())}, dict[str, list[str]]()
    for name, moved in _moves(make):
        for rule in rules(moved()):
            if rule.reason in plain and shown(rule.predicate) != plain[rule.reason]:
                found.setdefault(rule.reason, []).append(f"`{name}`")
    return found


def _moves(make: functools.partial[Stage]) -> Iterator[tuple[str, Callable[[], Stage]]]:
    """(argument, the stage with another value of it) for every argument that has a number, or several by key."""
    for name, parameter in inspect.signature(make.func).parameters.items():
        value = make.keywords.get(name, parameter.default)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, functools.partial(make, **{name: value / 2 if isinstance(value, float) else value + 1})
        if isinstance(value, Mapping) and all(isinstance(one, float) for one in value.values()):
            for key in value:
                yield f"{name}[{key}]", functools.partial(make, **{name: {**value, key: value[key] / 2}})


def described_arguments(function: Any) -> list[tuple[str, str]]:
    """(names, text) of the docstring's `Args:`."""
    _, _, rest = (inspect.getdoc(function) or "").partition("Args:\n")
    block = rest.split("\n\n")[0]
    parts = re.findall(r"^    (\w[\w, ]*): (.*(?:\n {8}.*)*)", block, re.MULTILINE)
    return [(names, re.sub(r"\s+", " ", text)) for names, text in parts]


def _first(function: Any) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")


def _source(made: Any) -> str:
    paragraphs = (inspect.getdoc(inspect.getmodule(made)) or "").split("\n\n")
    return " ".join(paragraphs[1:]).replace("\n", " ") or paragraphs[0]


def _text(doc: str) -> str:
    return " ".join(part.replace("\n", " ") for part in doc.split("\n\n") if not part.startswith("Args:"))


@functools.singledispatch
def shown(part: Any) -> str:
    """A predicate or node as people write it."""
    return type(part).__name__


@shown.register
def _(part: Compare) -> str:
    return f"{shown(part.left)} {SIGNS[part.op]} {part.limit}"


@shown.register
def _(part: AllOf) -> str:
    return " and ".join(map(shown, part.members))


@shown.register
def _(part: AnyOf) -> str:
    return " or ".join(map(shown, part.members))


@shown.register
def _(part: Not) -> str:
    inner = shown(part.member)
    return inner.replace(" in ", " not in ") if isinstance(part.member, Listed) else f"not ({inner})"


@shown.register
def _(part: IsIn) -> str:
    return f"{shown(part.left)} in {', '.join(map(str, part.values))}"


@shown.register
def _(part: Listed) -> str:
    return f"{part.on} in {Path(part.path).name}"


@shown.register
def _(part: Ranked) -> str:
    rest = f", less those of {part.after}" if part.after else ""
    return f"{part.name} is among the best {part.asked}{rest}"


@shown.register
def _(part: NotTrue) -> str:
    return f"{part.score} is false or unknown"


@shown.register
def _(part: NotBlindSolvable) -> str:
    return f"{part.right} is below {part.tau['*']}"


@shown.register
def _(part: Arithmetic) -> str:
    left, right = shown(part.left), shown(part.right)
    return f"{part.op}({left}, {right})" if part.op in ("min", "max") else f"{left} {SIGNS[part.op]} {right}"


@shown.register
def _(part: Column) -> str:
    return part.name


@shown.register
def _(part: Literal) -> str:
    return str(part.value)


if __name__ == "__main__":
    main()
