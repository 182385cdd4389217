"""FineWeb's chain of filters: language, Gopher, C4 and FineWeb's own rules, and personal data masked.

    poolsieve run recipes/fineweb.py --out OUT -p 'pool=docs/*.jsonl.zst'

As Penedo et al. have it (arXiv 2406.17557, section 3), without the URL lists, which are nobody's to ship: give yours
with `-p domains=FILE`. Deduplication is a step of its own. Later stages read the text that C4's rules leave.
"""

from poolsieve.dataflow import Pool, Recipe
from poolsieve.filters import Edit, Masked, PersonalData, Score, c4, fineweb, gopher, language, urls


def recipe(pool: str, text: str = "text", url: str = "", domains: str = "", at_least: float = 0.65) -> Recipe:
    """`text` and `url` are the columns that hold them; `at_least` is the least probability of English."""
    kind = Pool.jsonl if ".json" in pool else Pool.parquet
    source = kind(pool, text=text, url=url or None)
    return (
        (source | urls(domains=domains) if domains else source)
        | language("en", at_least=at_least)
        | gopher.repetition()
        | gopher.quality()
        | c4.quality(terminal_punctuation=False, edit=True)
        | fineweb.quality()
        | Score(pii=PersonalData())
        | Edit(text=Masked())
    )
