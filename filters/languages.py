"""`language("en", at_least=0.65)`: documents in given languages, by fastText's `lid.176`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Score
from poolsieve.scoring_models import Language
from poolsieve.scoring_models.base.errors import PlanError

_CODE = re.compile("[a-z]{2,3}")

AT_LEAST = 0.65
"""Least probability of the language: FineWeb's and datatrove's (`pipeline/filters/language_filter.py`, 0.10)."""


@stage(example='language("en")')
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
        PlanError: without a language, for what is no code, and for a probability that is none.
    """
    wanted = (languages,) if isinstance(languages, str) else tuple(languages)
    if not wanted:
        raise PlanError('language() needs at least one language, as language("en")')
    for code in wanted:
        if model.rsplit("/", 1)[-1].startswith("lid.176") and not _CODE.fullmatch(code):
            raise PlanError(f"language({code!r}): expected a code as lid.176 has it, such as 'en' or 'ceb'")
    if not 0 <= at_least <= 1:
        raise PlanError(f"language(at_least={at_least}): a probability, 0 to 1")
    return Chain(
        (
            Score(language=Language(model, text=text)),
            Keep(col("language.label").is_in(wanted), reason="language.other"),
            Keep(col("language.probability") >= at_least, reason="language.uncertain"),
        )
    )
