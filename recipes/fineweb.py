"""FineWeb's chain: language, Gopher, C4 and FineWeb's own rules, MinHash deduplication, and personal data masked.

    for dump in CC-MAIN-2023-50 CC-MAIN-2024-10; do
        poolsieve run recipes/fineweb.py --out OUT/$dump -p "pool=docs/$dump/*.jsonl.zst"
    done

As Penedo et al. have it (arXiv 2406.17557, section 3), without the URL lists, which are nobody's to ship: give yours
with `-p domains=FILE`. Later stages read the text that C4's rules leave. As in datatrove's `examples/fineweb.py` what
the filters leave is deduplicated, before personal data is masked, and each crawl alone: a crawl is a run. The paper's
section 3.4 found that worth more than all crawls together. `-p deduplicate=false` leaves it out; `docs/duplicates.md`
says what it costs, and which other stage may stand there.
"""

from poolsieve.dataflow import Pool, Recipe
from poolsieve.filters import Edit, Masked, PersonalData, Score, c4, dedup, fineweb, gopher, language, urls


def recipe(
    pool: str,
    text: str = "text",
    url: str = "",
    domains: str = "",
    at_least: float = 0.65,
    deduplicate: bool = True,
) -> Recipe:
    """`text` and `url` are the columns that hold them; `at_least` is the least probability of English."""
    kind = Pool.jsonl if ".json" in pool else Pool.parquet
    source = kind(pool, text=text, url=url or None)
    filtered = (
        (source | urls(domains=domains) if domains else source)
        | language("en", at_least=at_least)
        | gopher.repetition()
        | gopher.quality()
        | c4.quality(terminal_punctuation=False, edit=True)
        | fineweb.quality()
    )
    unique = filtered | dedup.fineweb() if deduplicate else filtered
    return unique | Score(pii=PersonalData()) | Edit(text=Masked())
