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

Any function marked `@stage` in `poolsieve.filters` is a stage under its name there (`dfn`, `gopher.quality`), and so is
an entry point of the group `poolsieve.rules` of an installed package; `poolsieve.scorers` and `poolsieve.editors` are
the groups for what `score` and `edit` take (as in `edit: {text: {Masked: {}}}`). `${name}` is replaced by the parameter
`-p name=value`.
"""

from __future__ import annotations

import datetime
import functools
import inspect
import string
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Any

import yaml

from poolsieve import filters, scoring_models
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.filters.dsl.edits import Editor
from poolsieve.filters.dsl.expr import Compare, IsIn, Predicate, col, compare
from poolsieve.filters.dsl.ready import makers, ready_made
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


WORDS = ("keep", "drop", "score", "edit", "any_of", "all_of")
"""Stages that YAML has a spelling of its own for."""


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


_SINGLE = (str, int, float, bool, datetime.date, type(None))
"""What YAML has beside collections."""

_MARK = "poolsieve-parameter"
"""Stands where a parameter will, when only the shape of the text is asked for."""


def only_values(text: str, parameters: Mapping[str, str]) -> bool:
    """Whether parameters only fill in values, single ones or flat lists: they add no keys and no stages.

    Each by itself as well: two of them might hide what one says, until the other is set anew.
    """
    marks = dict.fromkeys(parameters, _MARK)
    fillings = [{**marks, name: value} for name, value in parameters.items()]
    try:
        asked, *filled = (
            yaml.safe_load(string.Template(text).substitute(given)) for given in (marks, parameters, *fillings)
        )
    except (yaml.YAMLError, KeyError, ValueError, RecursionError):
        return False
    return all(_same_shape(asked, one) for one in filled)


def _same_shape(asked: Any, filled: Any) -> bool:
    if isinstance(asked, dict):
        same = isinstance(filled, dict) and len(asked) == len(filled)
        return same and all(
            _same_shape(a, b) for a, b in zip([*asked, *asked.values()], [*filled, *filled.values()], strict=True)
        )
    if isinstance(asked, list):
        return isinstance(filled, list) and len(asked) == len(filled) and all(map(_same_shape, asked, filled))
    if not isinstance(asked, str) or _MARK not in asked:
        return bool(asked == filled)
    return all(isinstance(one, _SINGLE) for one in (filled if isinstance(filled, list) else [filled]))


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
    return _made_by(where, name, _mapping(where, arguments))


def _made_by(where: str, name: str, arguments: Mapping[str, Any]) -> Stage:
    """A stage from the function that has its name."""
    make, given = _lookup(where, name, _stages(), WORDS), dict(arguments)
    about = ready_made(make)
    for key in about.pools if about else ():
        if isinstance(given.get(key), dict):
            given[key] = {one: _pool(f"{where}, {one}", pool) for one, pool in given[key].items()}
    made = _called(where, make, given)
    if not isinstance(made, Stage):
        raise PlanError(f"{where}: {name!r} made no stage, but {made!r}")
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
    made = _called(where, _lookup(where, name, _scorers()), _mapping(where, arguments))
    if not isinstance(made, Scorer):
        raise PlanError(f"{where}: {name!r} made no scorer, but {made!r}")
    return made


def _editor(where: str, item: Any) -> Editor:
    name, arguments = _single(where, item)
    made = _called(where, _lookup(where, name, _editors()), _mapping(where, arguments))
    if not isinstance(made, Editor):
        raise PlanError(f"{where}: {name!r} made no editor, but {made!r}")
    return made


Known = Mapping[str, Callable[..., Any] | metadata.EntryPoint]
"""Name in YAML -> what is called. An entry point is imported when it is used: a broken one stops no other recipe."""


# Installed packages come first, so that no package can give another meaning to a name of poolsieve's own.


@functools.cache
def _stages() -> Known:
    rules: Known = {"top": filters.Top, "above": filters.Above, "below": filters.Below, "in": filters.In}
    return {**_installed("poolsieve.rules"), **makers(filters), **rules}


@functools.cache
def _scorers() -> Known:
    return {**_installed("poolsieve.scorers"), **_classes("score", "load")}


@functools.cache
def _editors() -> Known:
    return {**_installed("poolsieve.editors"), **_classes("edit")}


def _classes(*methods: str) -> dict[str, Callable[..., Any]]:
    found = {**vars(scoring_models), **vars(filters)}
    return {
        name: made
        for name, made in found.items()
        if inspect.isclass(made) and any(hasattr(made, method) for method in methods)
    }


def _installed(group: str) -> dict[str, metadata.EntryPoint]:
    return {entry.name: entry for entry in metadata.entry_points(group=group)}


def _lookup(where: str, name: str, known: Known, words: Iterable[str] = ()) -> Callable[..., Any]:
    if name not in known:
        raise unknown_name(f"{where}: there is no {name!r}", name, [*known, *words])
    found = known[name]
    return _imported(where, found) if isinstance(found, metadata.EntryPoint) else found


def _imported(where: str, entry: metadata.EntryPoint) -> Callable[..., Any]:
    """What an entry point of an installed package names.

    Raises:
        PlanError: naming the package, if its module can't be imported or has no such name.
    """
    owner = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an installed package"
    try:
        found: Callable[..., Any] = entry.load()
    except Exception as error:
        raise PlanError(
            f"{where}: {entry.name!r} is {entry.value} of {owner}, which can't be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    return found


def _called(
    where: str, function: Callable[..., Any], arguments: Mapping[str, Any], positional: Iterable[Any] = ()
) -> Any:
    try:
        return function(*positional, **arguments)
    except TypeError as error:
        raise PlanError(f"{where}: {error}") from error
    except PlanError as error:
        raise PlanError(f"{where}: {error}") from error
