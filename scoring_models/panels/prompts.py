"""What a model is asked: an item's question and options as one text, and the rotations of its options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from poolsieve.scoring_models.base.errors import PlanError, unknown_name

FIELDS = ("prefix", "question", "options", "suffix")

OPEN = "{question}\nAnswer with a word, a number or a short phrase, and nothing else."
CHOICE = "{question}\n{options}\nAnswer with the letter of the right option, and nothing else."
"""What is asked where the item brings no words of its own before and behind its question."""

OWN_OPEN, OWN_CHOICE = "{prefix}{question}{suffix}", "{prefix}{question}\n{options}{suffix}"
"""Where it does: prefix, question and suffix are put together as they stand, as DatBench does."""

PLAIN = "Question: {text}\nAnswer:"
"""What surrounds that for a model without a chat template; its answer ends with the line."""

_FIELD = re.compile(r"\{([a-z]{1,20})\}")


def check_prompt(name: str, template: str | None, needed: Sequence[str]) -> None:
    """Refuses a template that lacks a field, or names one that there is not.

    Raises:
        PlanError: naming the field. Braces around anything but a small word are text.
    """
    if template is None:
        return
    found = _FIELD.findall(template)
    for field in found:
        if field not in FIELDS:
            raise unknown_name(f"Panel({name}=...): an item has no {{{field}}}", field, FIELDS)
    missing = [field for field in needed if field not in found]
    if missing:
        raise PlanError(f"Panel({name}={template!r:.80}): {{{missing[0]}}} is missing, so that no model would see it")


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with its fields filled in, each once: braces in an item's own texts are text.

    >>> filled("{question} {x}", {"question": "What is {options}?"})
    'What is {options}? {x}'
    """
    return _FIELD.sub(lambda found: values.get(found.group(1), found.group(0)), template)
