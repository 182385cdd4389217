"""`language("en", at_least=0.65)`: documents in given languages, by fastText's `lid.176`."""

from __future__ import annotations

from collections.abc import Sequence

from poolsieve.filters.expr import col
from poolsieve.filters.stages import Chain, Keep, Score
from poolsieve.scoring_models import Language
from poolsieve.scoring_models.protocol import PlanError

AT_LEAST = 0.65
"""Least probability of the language: FineWeb's and datatrove's (`pipeline/filters/language_filter.py`, 0.10)."""


def language(
    languages: str | Sequence[str], *, at_least: float = AT_LEAST, model: str = "lid.176.ftz", text: str = "text"
) -> Chain:
    """Keeps documents whose most probable language is one of `languages`, with at least that probability.

    Args:
        languages: a code as the model has it (`en`), or several.
        at_least: probability, 0 to 1.
        model: see `Language`.
        text: the role to read.

    Raises:
        PlanError: without a language.
    """
    wanted = (languages,) if isinstance(languages, str) else tuple(languages)
    if not wanted:
        raise PlanError('language() needs at least one language, as language("en")')
    return Chain(
        (
            Score(language=Language(model, text)),
            Keep(col("language.label").is_in(wanted), reason="language.other"),
            Keep(col("language.probability") >= at_least, reason="language.uncertain"),
        )
    )
