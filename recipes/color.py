"""CoLoR-Filter: documents by how much a small language model liked them better once it had read the target.

    poolsieve train color --prior-pool 'crawl/*.jsonl.zst' --sample 0.05 --target 'books/*.jsonl.zst' --out pair
    poolsieve run recipes/color.py --out OUT -p 'pool=crawl/*.jsonl.zst' -p pair=pair -p tau=16
    poolsieve decide --out OUT -p tau=64 --what-if
    poolsieve decide --out OUT -p by=color.conditional --what-if

Brandfonbrener et al., arXiv 2406.10670. `docs/color.md` says what the scores mean and what it costs; `make demo-color`
runs this on texts that every Python has, with a pair that it trains on them.
"""

from poolsieve.dataflow import Pool, Recipe
from poolsieve.filters import Score, Top
from poolsieve.scoring_models import Color


def recipe(
    pool: str,
    pair: str,
    tau: float = 16,
    by: str = "color",
    text: str = "text",
    uid: str = "",
) -> Recipe:
    """`pair` is the folder that `train color` made; `tau` is pool / selected; `by` one of the three scores."""
    kind = Pool.jsonl if ".json" in pool else Pool.parquet
    return (
        kind(pool, text=text, uid=uid or None)
        | Score(color=Color(prior=f"{pair}/prior", conditional=f"{pair}/conditional"))
        | Top(by, tau=tau, lowest=True)
    )
