"""A server's answer to a question, read leniently: what it must have is a text."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

MOST_TEXT = 32_768
"""Characters of an answer that are kept: four times what 4,096 tokens come to in most languages."""


class Reply(NamedTuple):
    """An answer.

    Attributes:
        text: at most `MOST_TEXT` characters; "" where the model said nothing.
        tokens_in, tokens_out: as the server counts them; None where it does not say.
        cut: whether the model was stopped by `max_tokens`, or the text was cut here.
    """

    text: str
    tokens_in: int | None = None
    tokens_out: int | None = None
    cut: bool = False


def reply_of(body: bytes) -> Reply:
    """The answer in the body of a chat completion.

    Raises:
        ValueError: saying what is wrong with it.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"an answer of {len(body):,} bytes that is no JSON") from error
    choice = _first(data.get("choices")) if isinstance(data, dict) else None
    message = choice.get("message") if choice is not None else None
    if choice is None or not isinstance(message, dict):
        raise ValueError("an answer in JSON without choices[0].message")
    text, usage = _text(message), data.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    cut = choice.get("finish_reason") == "length" or len(text) > MOST_TEXT
    return Reply(text[:MOST_TEXT], _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens")), cut)


def _first(choices: Any) -> dict[str, Any] | None:
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _text(message: dict[str, Any]) -> str:
    """The content as one text: servers give a text, a list of parts, or null beside a refusal."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    if not isinstance(content, str) or not content:
        refusal = message.get("refusal")
        content = refusal if isinstance(refusal, str) else ""
    # Half a surrogate pair can be written in JSON, and in no text of Arrow's.
    return content.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 40 else None
