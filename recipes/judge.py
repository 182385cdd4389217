"""Documents that a language model finds educational: a judge with a rubric, behind any OpenAI-compatible server.

    export JUDGE_URL=http://localhost:8000/v1 JUDGE_MODEL=Qwen/Qwen3-8B
    poolsieve run recipes/judge.py --out OUT -p 'pool=docs/*.jsonl.zst'

The scale, 0 to 5 by points that add up, is that of FineWeb-Edu (Penedo et al., arXiv 2406.17557, section 4), which
keeps documents from 3; the rubric's words are our own. The key of a server that wants one is in a variable of the
environment: `-p key=JUDGE_API_KEY`.
Rows that a cheap rule drops are never asked about: put those first.
"""

import os

from poolsieve.dataflow import Pool, Recipe
from poolsieve.filters import Above, Score, gopher
from poolsieve.scoring_models import Endpoint, Judge


def recipe(
    pool: str,
    text: str = "text",
    key: str = "",
    rubric: str = "recipes/rubrics/educational.md",
    at_least: float = 3.0,
    concurrency: int = 16,
) -> Recipe:
    """`text` is the column that holds it; `key` the NAME of an environment variable; the address comes from one too."""
    endpoint = Endpoint(
        os.environ.get("JUDGE_URL", "http://localhost:8000/v1"),
        os.environ.get("JUDGE_MODEL", "Qwen/Qwen3-8B"),
        key=key or None,
        concurrency=concurrency,
    )
    judge = Judge(endpoint, rubric, columns={"quality": "float32"}, least=0, most=5)
    kind = Pool.jsonl if ".json" in pool else Pool.parquet
    return kind(pool, text=text) | gopher.quality() | Score(edu=judge) | Above("edu.quality", at_least)
