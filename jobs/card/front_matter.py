"""A README's front matter: found as the Hub finds it, and changed key by key.

The lines of a key that is not ours stay as they are, comments and spelling included; so do those of a key of ours that
says the same already. Only what can't be cut by lines (a mapping in braces, or indented as a whole) is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from poolsieve.scoring_models.base.errors import PlanError

_OPENING = re.compile(r"\s*---(?:\r\n|\r|\n)")
_CLOSING = re.compile(r"(?:\A|\r\n|\r|\n)---[ \t]*(?:\r\n|\n|\Z)")
"""The two halves of `REGEX_YAML_BLOCK` of huggingface_hub 2.4 (`repocard.py`), which is the Hub's own; here the closing
line may follow at once."""

_DEEPEST = 100
"""Brackets in one another; PyYAML's scanner takes time by their square."""

_TEXT = "tag:yaml.org,2002:str"

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, kw_only=True)
class Readme:
    """A README in two: the lines between the `---`, with `\\n`; None without a front matter; and what comes after."""

    front: str | None
    body: str
    line_end: str


def split(text: str) -> Readme:
    """Parts a README.

    Raises:
        PlanError: if a front matter begins and does not end.
    """
    text = text.removeprefix("\ufeff")
    if "\n" not in text:
        # Lines that end as on old Macs: the Hub finds no front matter in them.
        text = text.replace("\r", "\n")
    first = _LINE_END.search(text)
    line_end = first[0] if first else "\n"
    opening = _OPENING.match(text)
    if opening is None:
        return Readme(front=None, body=text, line_end=line_end)
    closing = _CLOSING.search(text[opening.end() :])
    if closing is None:
        raise PlanError("README.md begins with a line `---` and has no second one, which would end its front matter")
    front = text[opening.end() : opening.end() + closing.start()]
    body = text[opening.end() + closing.end() :]
    return Readme(front=_LINE_END.sub("\n", front), body=body, line_end=line_end)


def joined(front: str, body: str, line_end: str) -> str:
    """The inverse of `split`; `front` ends with a line end."""
    return ("---\n" + front + "---\n").replace("\n", line_end) + body


def merged(front: str, values: Mapping[str, Any], gone: frozenset[str] = frozenset()) -> str:
    """A front matter in which some keys have other values.

    Args:
        front: lines of YAML.
        values: key -> its value; further keys come last, in this order.
        gone: keys that are removed where `values` has none.

    Raises:
        PlanError: for what is no YAML mapping, and for aliases.
    """
    data, pieces = _pieces(front)
    text = pieces.pop("", "")
    for key, piece in pieces.items():
        if key in values and values[key] != data[key]:
            text += _dumped(key, values[key]) + _remarks(piece)
        elif key in values or key not in gone:
            text += piece
        else:
            text += _remarks(piece)
    return text + "".join(_dumped(key, value) for key, value in values.items() if key not in pieces)


def parsed(front: str) -> dict[str, Any]:
    """The front matter's values.

    Raises:
        PlanError: see `merged`.
    """
    return _pieces(front)[0]


def _pieces(front: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Values by key, and the text of each, which ends with a line end; what is before the first key under ""."""
    node = _composed(front)
    if node is None:
        return {}, {"": "".join(line + "\n" for line in front.split("\n") if line.startswith("#"))}
    data = _constructed(node)
    starts = [key.start_mark for key, _ in node.value]
    if node.flow_style or any(mark.column for mark in starts):
        return data, {key: _dumped(key, value) for key, value in data.items()}
    whole = front.rstrip("\n") + "\n"
    places = [mark.index for mark in starts]
    spans = zip(data, places, [*places[1:], len(whole)], strict=True)
    return data, {"": whole[: places[0]], **{key: whole[begin:end] for key, begin, end in spans}}


def _composed(front: str) -> yaml.MappingNode | None:
    """The mapping with its places in the text; None where there is nothing but comments."""
    try:
        _check_tokens(front)
        node = yaml.compose(front, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise PlanError(f"README.md: its front matter is no YAML ({_said(error)})") from error
    if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
        return None
    if isinstance(node, yaml.MappingNode) and not node.value:
        return None
    if not isinstance(node, yaml.MappingNode):
        raise PlanError("README.md: its front matter is no mapping of keys to values, as `license: mit`")
    return node


def _check_tokens(front: str) -> None:
    """Refuses aliases, by which a few lines may stand for any amount, and brackets so deep that reading takes long."""
    depth = 0
    for token in yaml.scan(front, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.AliasToken):
            raise PlanError("README.md: its front matter has a YAML alias (`*name`): write the value out")
        depth += isinstance(token, (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken))
        depth -= isinstance(token, (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken))
        if depth > _DEEPEST:
            raise PlanError(f"README.md: its front matter has more than {_DEEPEST} brackets in one another")


def _constructed(node: yaml.MappingNode) -> dict[str, Any]:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT:
            # `datasets` and `huggingface_hub` can't read such a card either.
            raise PlanError("README.md: a key of its front matter is no text: put it between quotes, or remove it")
        if key.value in seen:
            raise PlanError(f"README.md: its front matter has the key {key.value[:100]!r} twice: remove one")
        seen.add(key.value)
    try:
        constructor = yaml.SafeLoader("")
        values = [constructor.construct_document(value) for _, value in node.value]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PlanError(f"README.md: its front matter is no YAML ({_said(error)})") from error
    return {str(key.value): value for (key, _), value in zip(node.value, values, strict=True)}


def _said(error: Exception) -> str:
    problem, mark = getattr(error, "problem", None) or type(error).__name__, getattr(error, "problem_mark", None)
    text = "".join(char for char in str(problem)[:200] if char.isprintable())
    # The first line of the front matter is the README's second.
    return f"{text}, line {mark.line + 2}" if mark is not None else text


def _remarks(piece: str) -> str:
    """Comments and empty lines at the end of a key's text: they belong to what comes next."""
    lines = piece.removesuffix("\n").split("\n")
    end = len(lines)
    while end > 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return "".join(line + "\n" for line in lines[end:])


def _dumped(key: str, value: Any) -> str:
    from huggingface_hub.utils import yaml_dump

    return str(yaml_dump({key: value}, sort_keys=False))
