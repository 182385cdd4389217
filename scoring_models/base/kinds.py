"""Whether a value that a user wrote is of the kind that a function or a configuration is annotated with."""

from __future__ import annotations

import dataclasses
import inspect
import reprlib
import typing
from typing import Any

import msgspec

from poolsieve.scoring_models.base.errors import PlanError

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


def short(value: Any) -> str:
    """A value as Python writes it, cut to what a message can hold."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return f"a {type(value).__name__}"


_NAMES = (str, str | None)
"""Hints of what is a name: an object of ours, as `col("x")`, is none."""


def wrong_kind(value: Any, hint: Any) -> str | None:
    """What is wrong with a plain value (of text, numbers, lists, mappings); None if nothing is, or if nobody can tell.

    >>> wrong_kind(5, str)
    'expected `str`, got `int`'
    >>> wrong_kind(["en", 5], list[str])
    'expected `str`, got `int` - at `$[1]`'
    >>> wrong_kind(1, float | None)
    """
    if not _plain(value) and not (hint in _NAMES and type(value).__module__.startswith("poolsieve.")):
        return None
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        text = str(error)
        return text[:1].lower() + text[1:]
    except Exception:  # noqa: BLE001  (a hint that msgspec does not know, however it says so)
        return None
    return None


def _plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(map(_plain, value)) and all(map(_plain, value.values()))
    # A function where a name is wanted: somebody's `col` or `f` without the quotation marks.
    return (
        value is None or type(value) in (str, int, float, bool) or inspect.isroutine(value) or isinstance(value, type)
    )


def check_fields(made: Any, what: str) -> None:
    """Checks the fields of a configuration of ours against their annotations.

    Other people's classes are left alone: what they annotate is not ours to enforce.

    Raises:
        PlanError: naming the field and the kind that it should have.
    """
    if not dataclasses.is_dataclass(made) or not type(made).__module__.startswith("poolsieve."):
        return
    hints = typing.get_type_hints(type(made))
    for item in dataclasses.fields(made):
        value = getattr(made, item.name, None)
        wrong = None if item.metadata.get("runtime") else wrong_kind(value, hints[item.name])
        if wrong is not None:
            raise PlanError(f"{what}, {item.name}={short(value)}: {wrong}")
