"""`celadon(...)`: documents by the three levels of "Toxicity of the Commons" (arXiv 2410.22587)."""

from __future__ import annotations

from poolsieve.filters.dsl.expr import col
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Keep, Score
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import Scorer
from poolsieve.scoring_models.encoders.celadon import CATEGORIES, Celadon

KEEPS = {"none": ("toxic", "mild"), "mild": ("toxic",)}
"""What `keep` may be -> the levels that go."""


@stage(example="celadon()")
def celadon(model: str | Scorer = "PleIAs/celadon", keep: str = "none", revision: str | None = None) -> Chain:
    """Drops toxic documents, and mildly toxic ones unless `keep="mild"`.

    The reason names level and worst category, as `celadon.toxic.violence`, so that each can be exported to a split of
    its own: the paper has mild documents annotated and toxic ones rewritten rather than lost.

    Args:
        model: what `Celadon` takes, or a scorer with its columns.
        keep: the worst level that stays: "none" or "mild".
        revision: of a Hub repository.
    """
    if keep not in KEEPS:
        raise PlanError(f"celadon(keep={keep!r}): expected one of {', '.join(KEEPS)}")
    scorer = model if isinstance(model, Scorer) else Celadon(model, revision=revision)
    verdicts = [f"{level}.{category}" for level in KEEPS[keep] for category in CATEGORIES]
    rules = [Keep(col("celadon.verdict") != verdict, reason=f"celadon.{verdict}") for verdict in verdicts]
    return Chain((Score(celadon=scorer), Keep(col("celadon.windows") >= 1, reason="celadon.no_text"), *rules))
