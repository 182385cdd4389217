"""A benchmark that needs its images, is labelled right, and tells models apart: DatBench's stages over a suite.

    poolsieve plan recipes/suite.py -p 'pool=items/*.parquet' -p answers=answers.parquet -p verdicts=verdicts.parquet
    poolsieve run recipes/suite.py --out OUT -p 'pool=items/*.parquet' -p answers=answers.parquet -p verdicts=...
    poolsieve decide --out OUT -p tau=6 --what-if
    poolsieve export OUT --to DIR

arXiv 2601.02316, section 3. `docs/suites.md` says what every column and reason means; `make demo-suite` runs this on a
suite with planted ills, and `docs/suite-effect.md` measures what it finds of them.
"""

from poolsieve.dataflow import Pool, Recipe
from poolsieve.filters import Score, suite
from poolsieve.scoring_models import Answers, Verdicts

SCORING = {"PicQuiz": "letter", "PicExam": "letter", "*": "normalised"}
"""How the demo's answers are marked, by source; yours need a line for each source with options."""


def recipe(
    pool: str,
    answers: str,
    verdicts: str,
    tau: str = "chance",
    count: int = 40,
    frontier: float = 0.2,
) -> Recipe:
    """`tau`: "chance", or a number of models for the sources with options; open questions go from one model on.

    `count` is how many items stay in each capability, `frontier` the share of them that nobody solves yet.
    """
    limits = {"PicAsk": "chance", "*": int(tau) if tau.isdigit() else tau}
    return (
        Pool.parquet(
            pool,
            uid="uid",
            image="image",
            question="question",
            answer="answer",
            options="options",
            capability="capability",
            source="source",
        )
        | Score(panel=Answers(answers, answer="said", scoring=SCORING))
        | suite.blind_solvable("panel", tau=limits, by="source")
        | suite.mislabelled("panel", verdicts=Verdicts(verdicts))
        | suite.discriminative("panel", by="capability", count=count, frontier=frontier)
    )
