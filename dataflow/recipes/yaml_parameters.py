"""Parameters of a YAML recipe: `${name}` in its text, and what they may and may not add to it."""

from __future__ import annotations

import datetime
import string
from collections.abc import Mapping
from typing import Any

import yaml

from poolsieve.scoring_models.base.errors import PlanError, unknown_name

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


def filled_in(text: str, path: str, parameters: Mapping[str, str]) -> str:
    """The text with its parameters in their places.

    Raises:
        PlanError: for one that is not given, for one that the text has not, and for a stray `$`; with the line.
    """
    template = string.Template(text)
    try:
        made = template.substitute(parameters)
        known = template.get_identifiers()
    except KeyError as error:
        name = str(error.args[0])
        lines = enumerate(text.splitlines(), 1)
        line = next((n for n, one in lines if f"${{{name}}}" in one or f"${name}" in one), 1)
        raise PlanError(
            f"{path}, line {line}: the recipe needs a parameter {name!r}: add -p {name}=VALUE ($$ is a plain $)"
        ) from error
    except ValueError as error:
        number = str(error).rpartition("line ")[2].partition(",")[0]
        raise PlanError(f"{path}, line {number}: a $ begins a parameter, as ${{name}}; $$ is a plain $") from error
    for name in parameters:
        if name not in known:
            raise unknown_name(f"{path}: the recipe has no parameter {name!r}", name, known)
    return made
