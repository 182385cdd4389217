"""`dfn(...)`: a data filtering network and its cut, as one ready-made stage."""

from __future__ import annotations

from decimal import Decimal

from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Chain, Score
from poolsieve.filters.dsl.top import Top
from poolsieve.scoring_models import Clip
from poolsieve.scoring_models.base.scorer import Scorer


@stage(example='dfn("hf-hub:apple/DFN-public")')
def dfn(model: str | tuple[str, str] | Scorer, fraction: float | str | Decimal = 0.15, name: str = "dfn") -> Chain:
    """Keeps the best `fraction` of the whole pool by CLIP similarity: a data filtering network.

    Fang et al., "Data Filtering Networks", arXiv 2309.17425: the cut is the value that keeps the top 15 % of the pool,
    before any other filter; a row stays if it is among those and no other rule drops it.

    Args:
        model: what `Clip` takes (`"hf-hub:apple/DFN-public"` is the published filter), or a scorer.
        fraction: of the pool.
        name: of the score.
    """
    scorer = model if isinstance(model, Scorer) else Clip(model)
    return Score(**{name: scorer}) | Top(name, fraction=fraction, of="pool", rank="pool")
