"""FineWeb's chain, then Celadon: mildly toxic documents are dropped under a reason of their own, not lost.

    poolsieve run recipes/fineweb_celadon.py --out OUT -p 'pool=docs/*.jsonl.zst' -p revision=COMMIT
    poolsieve export OUT
    poolsieve export OUT --reason 'celadon.mild.*' --to OUT/mild
    poolsieve export OUT --reason 'celadon.toxic.*' --to OUT/toxic

"Toxicity of the Commons" (arXiv 2410.22587) has toxic documents rewritten and mild ones given a content warning.
`make demo-text` runs this on the demo's documents, with a network that knows their words.
"""

from poolsieve.dataflow import Pool, Recipe
from poolsieve.filters import c4, celadon, fineweb, gopher, language


def recipe(
    pool: str,
    model: str = "PleIAs/celadon",
    revision: str = "",
    text: str = "text",
    uid: str = "",
    at_least: float = 0.65,
) -> Recipe:
    """`model` and `revision` are what `Celadon` takes; `text` and `uid` are columns or fields of the documents."""
    kind = Pool.jsonl if ".json" in pool else Pool.parquet
    return (
        kind(pool, text=text, uid=uid or None)
        | language("en", at_least=at_least)
        | gopher.repetition()
        | gopher.quality()
        | c4.quality(terminal_punctuation=False, edit=True)
        | fineweb.quality()
        | celadon(model, revision=revision or None)
    )
