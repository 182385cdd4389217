"""Recipes as YAML: the same stages and scorers under the same names.

    pool:
      webdataset: ["s3://pool/{00000000..00012799}.tar"]
      uid: json:uid
      text: txt
      image: jpg;png
      sample: 0.05
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

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

from poolsieve import filters, scoring_models
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.pools.union import UNION
from poolsieve.dataflow.recipes.places import Place, load
from poolsieve.dataflow.recipes.recipe import Pool, Recipe
from poolsieve.dataflow.recipes.yaml_parameters import filled_in
from poolsieve.filters.dsl.edits import Editor
from poolsieve.filters.dsl.expr import Compare, Predicate, col, compare
from poolsieve.filters.dsl.ready import makers, ready_made
from poolsieve.filters.dsl.stages import Rule, Score, Stage, placed
from poolsieve.scoring_models.base.derived import Composite, is_composite
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.kinds import short, wrong_kind
from poolsieve.scoring_models.base.scorer import Scorer, is_scorer

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
        PlanError: naming the file, the line, and the nearest valid name.
    """
    data, where = load(filled_in(text, path, parameters), path)
    if not isinstance(data, dict) or set(data) != {"pool", "stages"}:
        raise PlanError(f"{where}: a recipe has two keys: `pool` (a mapping) and `stages` (a list)")
    if not isinstance(data["stages"], list):
        raise PlanError(f"{where.at('stages')}: `stages` is a list of stages, not {short(data['stages'])}")
    recipe = Recipe(_pool(where.at("pool", words="pool"), data["pool"]))
    for number, item in enumerate(data["stages"]):
        place = where.at("stages", number, words=f"stage {number + 1}")
        for stage in _stage(place, item).flat():
            recipe = recipe | placed(stage, str(place))
    return recipe


def _pool(where: Place, data: Any) -> Pool:
    union = isinstance(data, dict) and isinstance(data.get(UNION), (dict, list))
    return _union(where, data) if union else _files(where, data)


def _union(where: Place, data: Any) -> Pool:
    """`union: {name: pool, ...}` or a list of pools, with `sample` beside it."""
    given, inside = _mapping(where, data), where.at(UNION)
    if isinstance(given[UNION], list):
        pools = [_pool(inside.at(i, words=f"part {i}"), pool) for i, pool in enumerate(given[UNION])]
        return _united(where, given, {}, pools)
    parts = _mapping(inside, given[UNION])
    return _united(
        where, given, {name: _pool(inside.at(name, words=f"part {name}"), one) for name, one in parts.items()}
    )


def _united(where: Place, given: Mapping[str, Any], named: Mapping[str, Pool], pools: Sequence[Pool] = ()) -> Pool:
    for key in given:
        if key not in (UNION, "sample"):
            raise PlanError(f"{where.at(key)}: `{key}` stands in each part of a union, not beside it")
    made: Pool = _called(where, Pool.union, named, pools)
    return _sampled(where.at("sample"), made, given["sample"]) if "sample" in given else made


_LAYOUTS = ("datbench", "hub")
"""Kinds of pools that are a format with roles, and those whose format the Hub knows."""


def _files(where: Place, data: Any) -> Pool:
    kinds = [kind for kind in (*FORMATS, *_LAYOUTS) if isinstance(data, dict) and kind in data]
    if len(kinds) > 1:  # `tokens` beside another kind is the role of that name
        kinds = [kind for kind in kinds if kind in _LAYOUTS or kind != FORMATS[kind].row_role]
    if len(kinds) != 1:
        raise PlanError(
            f"{where}: `pool` needs exactly one of {', '.join(FORMATS)}: a list of files; or {UNION}: named pools"
        )
    kind, rest = kinds[0], {key: value for key, value in _mapping(where, data).items() if key != kinds[0]}
    urls = data[kind] if isinstance(data[kind], list) else [data[kind]]
    if not urls or not all(isinstance(url, str) and url for url in urls):
        raise PlanError(
            f'{where.at(kind)}: `{kind}` is a list of files, like ["data/*.{kind}"], not {short(data[kind])}'
        )
    # A text under this key is a role's source, as any other key's.
    part = rest.pop("sample") if "sample" in rest and not isinstance(rest["sample"], str) else None
    if kind == "hub" and len(urls) > 1:
        raise PlanError(f"{where.at(kind)}: `hub` is one dataset, as org/name; `{UNION}` is of several")
    made: Pool = _called(where, getattr(Pool, kind), rest, urls)
    return made if part is None else _sampled(where.at("sample"), made, part)


def _sampled(where: Place, pool: Pool, part: Any) -> Pool:
    """`sample: 0.05`, or `sample: {fraction: 0.05, seed: 1}`."""
    made: Pool = _called(where, pool.sample, part if isinstance(part, dict) else {"fraction": part})
    return made


def _stage(where: Place, item: Any) -> Stage:
    name, arguments = _single(where, item)
    inside = where.at(name)
    if name in ("keep", "drop"):
        return _keep_or_drop(inside, name, arguments)
    if name == "score":
        return _score(where, inside, _mapping(inside, arguments))
    if name == "edit":
        given = _mapping(inside, arguments)
        made = {key: _editor(inside.at(key, words=f"edit {key}"), value) for key, value in given.items()}
        return _called(where, filters.Edit, made)
    if name in ("any_of", "all_of"):
        return _combined(inside, name, _mapping(inside, arguments))
    return _made_by(inside, name, _mapping(inside, arguments))


def _score(where: Place, inside: Place, given: Mapping[str, Any]) -> Stage:
    """Scorers by their names; `where` is a comparison as `keep` has it, `optional` true or false."""
    made: dict[str, Any] = {}
    for key, value in given.items():
        at = inside.at(key, words=f"score {key}")
        if key == "optional":
            made[key] = value
        else:
            made[key] = _predicate(at, _mapping(at, value)) if key == "where" else _scorer(at, value)
    stage: Stage = _called(where, Score, made)
    return stage


def _made_by(where: Place, name: str, arguments: Mapping[str, Any]) -> Stage:
    """A stage from the function that has its name."""
    make, given = _lookup(where, name, _stages(), WORDS), dict(arguments)
    about = ready_made(make)
    for key in about.pools if about else ():
        if isinstance(given.get(key), dict):
            pools = _mapping(where.at(key), given[key])
            given[key] = {one: _pool(where.at(key, one, words=one), pool) for one, pool in pools.items()}
    for key in about.one_pool if about else ():
        if isinstance(given.get(key), dict):
            given[key] = _pool(where.at(key, words=key), given[key])
    for key in about.scorers if about else ():
        if isinstance(given.get(key), dict):
            given[key] = _scorer(where.at(key, words=key), given[key])
    made = _called(where, make, given)
    if not isinstance(made, Stage):
        raise PlanError(f"{where}: {name!r} made no stage, but {short(made)}")
    return made


def _single(where: Place, item: Any) -> tuple[str, Any]:
    if isinstance(item, str):
        return item, {}
    if not isinstance(item, dict) or len(item) != 1 or not isinstance(next(iter(item)), str):
        raise PlanError(
            f"{where}: expected one name with its arguments, like `top: {{name: dfn, fraction: 0.15}}`, "
            f"not {short(item)}"
        )
    name, arguments = next(iter(item.items()))
    return name, {} if arguments is None else arguments


def _mapping(where: Place, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PlanError(f"{where}: expected `name: value` pairs, not {short(value)}")
    for key in value:
        if not isinstance(key, str):
            raise PlanError(f"{where.at(str(key))}: {short(key)} is no name; write it in quotes if it is one")
    return value


def _keep_or_drop(where: Place, name: str, arguments: Any) -> Rule:
    given = _mapping(where, arguments)
    reason = given.get("reason")
    predicate = _predicate(where, {key: value for key, value in given.items() if key != "reason"})
    made: Rule = _called(where, filters.Keep if name == "keep" else filters.Drop, {"reason": reason}, [predicate])
    return made


def _predicate(where: Place, given: Mapping[str, Any]) -> Predicate:
    limits = [key for key in given if key != "score"]
    if "score" not in given or len(limits) != 1:
        raise PlanError(f"{where}: needs `score` and exactly one of {', '.join([*LIMITS, 'is_in'])}; got {list(given)}")
    key = limits[0]
    node, place = _called(where.at("score"), col, {}, [given["score"]]), where.at(key)
    if key == "is_in":
        if not isinstance(given[key], list):
            raise PlanError(f"{place}: `is_in` is a list of values, like [en, de], not {short(given[key])}")
        return _called(place, node.is_in, {}, [given[key]])
    if key not in LIMITS:
        raise unknown_name(f"{where}: no comparison {key!r}", key, [*LIMITS, "is_in"])
    made: Compare = _called(place, compare, {}, [LIMITS[key], node, given[key]])
    return made


def _combined(where: Place, name: str, given: dict[str, Any]) -> Rule:
    if set(given) != {"rules", "reason"} or not isinstance(given["rules"], list):
        raise PlanError(f"{where}: {name} has two keys: `rules` (a list of stages) and `reason`")
    rules = [_stage(where.at("rules", i, words=f"rule {i + 1}"), item) for i, item in enumerate(given["rules"])]
    make = filters.any_of if name == "any_of" else filters.all_of
    made: Rule = _called(where, make, {"reason": given["reason"]}, rules)
    return made


def _scorer(where: Place, item: Any) -> Scorer | Composite:
    name, arguments = _single(where, item)
    inside = where.at(name)
    given = {key: _built(inside.at(key), value) for key, value in _mapping(inside, arguments).items()}
    made: Scorer | Composite = _called(inside, _lookup(where, name, _scorers()), given)
    if not is_scorer(made) and not is_composite(made):
        raise PlanError(f"{where}: {name!r} made no scorer, but {short(made)}")
    return made


def _built(where: Place, value: Any) -> Any:
    """An argument of a scorer, in which `{Endpoint: {...}}` is one, alone, in a list or under a name."""
    if isinstance(value, list):
        return [_built(where.at(i), one) for i, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if set(value) - set(_answering()) or len(value) != 1:
        return {key: _built(where.at(key), one) for key, one in value.items()}
    name, arguments = _single(where, value)
    return _called(where.at(name), _answering()[name], _mapping(where.at(name), arguments))


def _editor(where: Place, item: Any) -> Editor:
    name, arguments = _single(where, item)
    made = _called(where.at(name), _lookup(where, name, _editors()), _mapping(where.at(name), arguments))
    if not isinstance(made, Editor):
        raise PlanError(f"{where}: {name!r} made no editor, but {short(made)}")
    return made


Known = Mapping[str, Callable[..., Any] | metadata.EntryPoint]
"""Name in YAML -> what is called. An entry point is imported when it is used: a broken one stops no other recipe."""


# Installed packages come first, so that no package can give another meaning to a name of poolsieve's own.


_RULES = ("Top", "Above", "Below", "In", "Unique", "Cap", "Repeat")
"""Stages that are no family's; YAML has them in small letters."""


@functools.cache
def _stages() -> Known:
    rules: Known = {name.lower(): getattr(filters, name) for name in _RULES}
    return {**_installed("poolsieve.rules"), **makers(filters), **rules}


@functools.cache
def _scorers() -> Known:
    return {**_installed("poolsieve.scorers"), **_classes("score", "load", "parts", "pieces")}


@functools.cache
def _answering() -> dict[str, Callable[..., Any]]:
    """What scorers ask: models behind an endpoint."""
    return _classes("ask")


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


def _lookup(where: Place, name: str, known: Known, words: Iterable[str] = ()) -> Callable[..., Any]:
    if name not in known:
        raise unknown_name(f"{where}: there is no {name!r}", name, [*known, *words])
    found = known[name]
    return _imported(where, found) if isinstance(found, metadata.EntryPoint) else found


def _imported(where: Place, entry: metadata.EntryPoint) -> Callable[..., Any]:
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
    where: Place, function: Callable[..., Any], arguments: Mapping[str, Any], positional: Sequence[Any] = ()
) -> Any:
    """What a function makes of arguments, which are checked against its signature first."""
    _check_kinds(where, function, arguments)
    try:
        return function(*positional, **arguments)
    except PlanError as error:
        raise PlanError(f"{where}: {error}") from error
    except TypeError as error:
        raise PlanError(f"{where}: {error}") from error
    except Exception as error:  # of whatever class: what the recipe says can't be made
        raise PlanError(f"{where}: {type(error).__name__}: {error}") from error


def _check_kinds(where: Place, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Refuses arguments of another kind than the function is annotated with; unknown names are left to the call."""
    try:
        known = inspect.signature(function, eval_str=True).parameters
    except Exception:  # noqa: BLE001  (somebody else's function, with annotations that can't be evaluated)
        return
    others = next((one for one in known.values() if one.kind is inspect.Parameter.VAR_KEYWORD), None)
    for name, value in arguments.items():
        parameter = known.get(name, others)
        if parameter is None or parameter.annotation is inspect.Parameter.empty:
            continue
        wrong = wrong_kind(value, parameter.annotation)
        if wrong is not None:
            raise PlanError(f"{where.at(name)}: `{name}: {short(value)}`: {wrong}")
