"""YAML as plain values, with the line that each of them stands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from poolsieve.scoring_models.base.errors import PlanError

Keys = tuple[str | int, ...]
"""The keys and positions that lead to a value: `("stages", 2, "top")`."""

MOST_VALUES = 100_000
"""Values that a recipe may have once its aliases are written out: ten lines of aliases can stand for 10^9."""


@dataclass(frozen=True)
class Place:
    """A place in a YAML file; prints as `r.yaml, line 7, stage 3`.

    Attributes:
        path: the file.
        lines: keys -> line of the value there, from 1.
        keys: of the value that this is about.
        words: what the value is, for people.
    """

    path: str
    lines: Mapping[Keys, int] = field(default_factory=dict)
    keys: Keys = ()
    words: str = ""

    def at(self, *keys: str | int, words: str = "") -> Place:
        """The place of a value inside this one."""
        said = f"{self.words}, {words}" if self.words and words else self.words or words
        return replace(self, keys=self.keys + keys, words=said)

    @property
    def line(self) -> int:
        """The line of the value, or of the nearest around it that has one."""
        return next(self.lines[self.keys[:n]] for n in range(len(self.keys), -1, -1) if self.keys[:n] in self.lines)

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}" + (f", {self.words}" if self.words else "")


def load(text: str, path: str) -> tuple[Any, Place]:
    """The value of a YAML document, by the safe loader, and its place.

    Raises:
        PlanError: with the line, for what is no YAML, is given twice, or refers to itself.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[Keys, int] = {(): 1}
        if node is not None:
            _note(node, (), lines, {}, path)
        return (None if node is None else loader.construct_document(node)), Place(path, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(filter(None, (error.context, error.problem)))
        raise PlanError(f"{path}, line {mark.line + 1 if mark else 1}: {said}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise PlanError(f"{path}, line {line}: {error.reason} (U+{ord(text[error.position]):04X})") from error
    except RecursionError as error:
        raise PlanError(f"{path}, line 1: values stand inside one another too deeply for a recipe") from error


class _Loader(yaml.SafeLoader):
    """The safe loader, whose every error has a line."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """The value of a node; what Python says of a wrong one (a month 13) is given the node's place."""
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error


def _note(node: Any, keys: Keys, lines: dict[Keys, int], seen: dict[int, int], path: str) -> int:
    """Notes the lines of a node and of all below it; the number of values that it stands for.

    An aliased node is noted at its first place only. `seen` has the size of each; 0 while its inside is looked at.
    """
    line = node.start_mark.line + 1
    lines.setdefault(keys, line)
    if id(node) in seen:
        if not seen[id(node)]:
            raise PlanError(f"{path}, line {line}: the value refers to itself")
        return seen[id(node)]
    seen[id(node)] = 0
    size = 1
    for key, child in _children(node, path):
        size += _note(child, (*keys, key), lines, seen, path)
        if size > MOST_VALUES:
            raise PlanError(f"{path}, line {line}: a recipe has at most {MOST_VALUES:,} values, aliases written out")
    seen[id(node)] = size
    return size


def _children(node: Any, path: str) -> list[tuple[str | int, Any]]:
    if isinstance(node, yaml.SequenceNode):
        return list(enumerate(node.value))
    if not isinstance(node, yaml.MappingNode):
        return []
    found: dict[str | int, Any] = {}
    for number, (key, value) in enumerate(node.value):
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else f"key {number + 1}"
        if name in found:
            line = key.start_mark.line + 1
            raise PlanError(f"{path}, line {line}: {name!r} is given twice in one mapping; one of them would be lost")
        found[name] = value
    return list(found.items())
