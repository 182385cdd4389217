"""Prompts with places for a row's values. A row's text is data: braces in it are braces."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poolsieve.scoring_models.base.config import absolute_path
from poolsieve.scoring_models.base.errors import PlanError, unknown_name

_PLACE = re.compile(r"\{\{([A-Za-z_][\w.]{0,99})\}\}|\{([A-Za-z_][\w.]{0,99})\}")
"""`{role}`, or `{{word}}` for the word in braces; JSON in a prompt has quotation marks there, and stays as it is."""

RUBRICS = (".md", ".txt")
"""Endings of a prompt that is the path of a file."""

MOST_BYTES = 1 << 18
"""Of a rubric."""


def prompt_text(prompt: Any, what: str) -> str:
    """The prompt, read from its file where it is the path of one.

    Args:
        prompt: a text, or a path that ends in .md or .txt; a relative one starts where the command was run.
        what: who wants it, for messages.

    Raises:
        PlanError: for a file that can't be read, and an empty prompt.
    """
    named = isinstance(prompt, Path) or (isinstance(prompt, str) and prompt.endswith(RUBRICS) and "\n" not in prompt)
    text = _read(absolute_path(str(prompt)), what) if named else prompt
    if not isinstance(text, str) or not text.strip():
        raise PlanError(f"{what} needs a prompt: a text with places such as {{text}}, or the path of a rubric")
    return text


def _read(path: str, what: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise PlanError(
            f"{what} can't read its rubric {path}: {error}; a relative path starts where the command was run"
        ) from error
    if len(data) > MOST_BYTES:
        raise PlanError(f"{what}: the rubric {path} has more than {MOST_BYTES:,} bytes")
    return text.replace("\r\n", "\n")


def check_places(prompt: str, roles: Sequence[str], what: str) -> None:
    """Refuses a prompt with places for what is not read, or without one for what is.

    Raises:
        PlanError: naming the place.
    """
    places = [match[2] for match in _PLACE.finditer(prompt) if match[2]]
    for place in places:
        if place not in roles:
            hint = f"Write {{{{{place}}}}} for the word in braces"
            raise unknown_name(f"{what}: the prompt has a place {{{place}}}, which is not read", place, roles, hint)
    for role in roles:
        if role not in places:
            raise PlanError(f"{what} reads {role!r}, but the prompt has no place {{{role}}} for it")


def filled(prompt: str, values: Mapping[str, str]) -> str:
    """The prompt with a value in each of its places; what stands in a value is never taken for a place.

    >>> filled('{text}: {"x": {{text}}}', {"text": "{text}"})
    '{text}: {"x": {text}}'
    """
    return _PLACE.sub(lambda match: f"{{{match[1]}}}" if match[1] else values[match[2]], prompt)
