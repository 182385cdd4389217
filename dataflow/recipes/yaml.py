"""Recipes as YAML: the same stages and scorers under the same names.

    pool:
      webdataset: ["s3://pool/{00000000..00012799}.tar"]
      uid: json:uid
      text: txt
      image: jpg;png
    stages:
      - datacomp.basic: {size: stored}
      - keep: {score: text.word_count, at_most: 64, reason: caption.too_long}
      - score: {dfn: {Clip: {model: "hf-hub:apple/DFN-public"}}}
      - top: {name: dfn, fraction: 0.15}

A name with a dot is a ready-made stage or, from an installed package, an entry point of the groups `poolsieve.rules`
(stages), `poolsieve.scorers` and `poolsieve.editors` (as in `edit: {text: {Masked: {}}}`). `${name}` is replaced by the
parameter `-p name=value`.
"""

from __future__ import annotations

import functools
import inspect
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any

import yaml

from poolsieve import filters, scoring_models
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.filters.dsl.edits import Editor
from poolsieve.filters.dsl.expr import Compare, IsIn, Predicate, col, compare
from poolsieve.filters.dsl.stages import Rule, Score, Stage
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.scorer import Scorer

LIMITS = {
    "at_most": "less_equal",
    "at_least": "greater_equal",
    "less_than": "less",
    "more_than": "greater",
    "equals": "equal",
    "not_equals": "not_equal",
}
"""How YAML spells a comparison -> Arrow's kernel."""


def recipe_from_yaml(text: str, path: str, parameters: Mapping[str, str]) -> Recipe:
    """A recipe from YAML text.

    Raises:
        PlanError: naming the place and the nearest valid name.
    """
    try:
        data = yaml.safe_load(string.Template(text).substitute(parameters))
    except (yaml.YAMLError, KeyError, ValueError) as error:
        raise PlanError(f"{path}: {error}") from error
    if not isinstance(data, dict) or set(data) != {"pool", "stages"} or not isinstance(data["stages"], list):
        raise PlanError(f"{path}: a recipe has two keys: `pool` (a mapping) and `stages` (a list)")
    recipe = Recipe(_pool(path, data["pool"]))
    for position, item in enumerate(data["stages"], 1):
        recipe = recipe | _stage(f"{path}, stage {position}", item)
    return recipe


def _pool(path: str, data: Any) -> Pool:
    kinds = [kind for kind in FORMATS if isinstance(data, dict) and kind in data]
    if len(kinds) != 1:
        raise PlanError(f"{path}: `pool` needs exactly one of {', '.join(FORMATS)}: a list of files")
    kind, rest = kinds[0], {key: value for key, value in data.items() if key != kinds[0]}
    urls = data[kind] if isinstance(data[kind], list) else [data[kind]]
    return _called(f"{path}, pool", getattr(Pool, kind), rest, urls)


def _stage(where: str, item: Any) -> Stage:
    name, arguments = _single(where, item)
    if name in ("keep", "drop"):
        return _keep_or_drop(where, name, arguments)
    if name == "score":
        return Score(
            **{key: _scorer(f"{where}, score {key}", value) for key, value in _mapping(where, arguments).items()}
        )
    if name == "edit":
        given = _mapping(where, arguments)
        return filters.Edit(**{key: _editor(f"{where}, edit {key}", value) for key, value in given.items()})
    if name in ("any_of", "all_of"):
        return _combined(where, name, _mapping(where, arguments))
    given = dict(_mapping(where, arguments))
    if isinstance(given.get("benchmarks"), dict):
        given["benchmarks"] = {key: _pool(f"{where}, {key}", value) for key, value in given["benchmarks"].items()}
    made: Stage = _called(where, _lookup(where, name, _stages()), given)
    return made


def _single(where: str, item: Any) -> tuple[str, Any]:
    if isinstance(item, str):
        return item, {}
    if not isinstance(item, dict) or len(item) != 1:
        raise PlanError(f"{where}: expected one name with its arguments, like `top: {{name: dfn, fraction: 0.15}}`")
    name, arguments = next(iter(item.items()))
    return str(name), arguments or {}


def _mapping(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PlanError(f"{where}: expected `name: value` pairs, not {value!r}")
    return value


def _keep_or_drop(where: str, name: str, arguments: Any) -> Rule:
    given = _mapping(where, arguments)
    reason = given.get("reason")
    predicate = _predicate(where, {key: value for key, value in given.items() if key != "reason"})
    return filters.Keep(predicate, reason) if name == "keep" else filters.Drop(predicate, reason)


def _predicate(where: str, given: Mapping[str, Any]) -> Predicate:
    limits = [key for key in given if key != "score"]
    if "score" not in given or len(limits) != 1:
        raise PlanError(f"{where}: needs `score` and exactly one of {', '.join([*LIMITS, 'is_in'])}; got {list(given)}")
    key, node = limits[0], col(given["score"])
    if key == "is_in":
        return IsIn(node, tuple(given[key]))
    if key not in LIMITS:
        raise unknown_name(f"{where}: no comparison {key!r}", key, [*LIMITS, "is_in"])
    made: Compare = compare(LIMITS[key], node, given[key])
    return made


def _combined(where: str, name: str, given: dict[str, Any]) -> Rule:
    if set(given) != {"rules", "reason"} or not isinstance(given["rules"], list):
        raise PlanError(f"{where}: {name} has two keys: `rules` (a list of stages) and `reason`")
    rules = [_stage(f"{where}, rule {i}", item) for i, item in enumerate(given["rules"], 1)]
    make = filters.any_of if name == "any_of" else filters.all_of
    return make(*rules, reason=given["reason"])


def _scorer(where: str, item: Any) -> Scorer:
    name, arguments = _single(where, item)
    made: Scorer = _called(where, _lookup(where, name, _scorers()), _mapping(where, arguments))
    return made


def _editor(where: str, item: Any) -> Editor:
    name, arguments = _single(where, item)
    made: Editor = _called(where, _lookup(where, name, _editors()), _mapping(where, arguments))
    return made


@functools.cache
def _stages() -> dict[str, Callable[..., Any]]:
    """Functions that make a stage, by the names that `poolsieve.filters` and its families give them."""
    named = {name.lower(): getattr(filters, name) for name in ("Top", "Above", "Below", "In")}
    ready = dict(_makers("", filters))
    families = {name: value for name, value in vars(filters).items() if inspect.ismodule(value)}
    for name, family in families.items():
        ready.update((key, made) for key, made in _makers(f"{name}.", family) if made not in ready.values())
    return {**ready, **named, **_installed("poolsieve.rules")}


def _makers(prefix: str, module: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, made in vars(module).items():
        returns = getattr(made, "__annotations__", {}).get("return")
        if inspect.isfunction(made) and name[0].islower() and returns in ("Chain", "Rule"):
            yield prefix + name, made


@functools.cache
def _scorers() -> dict[str, Callable[..., Any]]:
    return {**_classes("score", "load"), **_installed("poolsieve.scorers")}


@functools.cache
def _editors() -> dict[str, Callable[..., Any]]:
    return {**_classes("edit"), **_installed("poolsieve.editors")}


def _classes(*methods: str) -> dict[str, Callable[..., Any]]:
    found = {**vars(scoring_models), **vars(filters)}
    return {
        name: made for name, made in found.items() if inspect.isclass(made) and any(map(made.__dict__.get, methods))
    }


def _installed(group: str) -> dict[str, Callable[..., Any]]:
    return {entry.name: _Late(entry) for entry in metadata.entry_points(group=group)}


class _Late:
    """An entry point that is imported when it is used."""

    def __init__(self, entry: metadata.EntryPoint) -> None:
        self.entry = entry

    def __call__(self, **arguments: Any) -> Any:
        return self.entry.load()(**arguments)


def _lookup(where: str, name: str, known: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    if name not in known:
        raise unknown_name(f"{where}: there is no {name!r}", name, [*known, "keep", "drop", "score"])
    return known[name]


def _called(
    where: str, function: Callable[..., Any], arguments: Mapping[str, Any], positional: Iterable[Any] = ()
) -> Any:
    try:
        return function(*positional, **arguments)
    except TypeError as error:
        raise PlanError(f"{where}: {error}") from error
    except PlanError as error:
        raise PlanError(f"{where}: {error}") from error
