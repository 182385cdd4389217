"""DataComp's baseline filters, row for row those of `baselines/apply_filter.py` (mlfoundations/datacomp).

Gadre et al., "DataComp: In search of the next generation of multimodal datasets", arXiv 2304.14108, section 3.
"""

from __future__ import annotations

from poolsieve.filters.dsl.expr import Node, col, larger, smaller
from poolsieve.filters.dsl.ready import stage
from poolsieve.filters.dsl.stages import Above, Chain, Keep, Rule, Score
from poolsieve.filters.dsl.top import Top
from poolsieve.scoring_models import Gcld3, ImageSize, Language
from poolsieve.scoring_models.base.errors import PlanError

MIN_WORDS, MIN_CHARS, MIN_SIDE, MAX_ASPECT = 2, 5, 200, 3.0
"""More than 2 whitespace words, more than 5 characters, both sides at least 200 pixels, aspect ratio at most 3."""

LAION2B_SIMILARITY = 0.28
"""CLIP ViT-B/32 similarity of LAION-2B's rule."""

_SIZE_HELP = (
    "datacomp.basic() judges the size an image had before anything resized it. Declare it in the pool, as "
    'width="json:original_width", height="json:original_height" (tars) or width="original_width", '
    'height="original_height" (metadata), or say datacomp.basic(size="stored") to judge the stored image, which '
    "gives other answers where images were shrunk"
)


@stage(example="datacomp.basic()")
def basic(*, size: str = "original", language_model: str = "lid.176.ftz") -> Chain:
    """DataComp's "basic filtering": English, > 2 words, > 5 characters, both sides >= 200, aspect ratio <= 3.

    The cheap rules come first; the set of kept rows does not depend on the order.

    Args:
        size: "original" reads the roles `width` and `height`; "stored" measures the stored image.
        language_model: fastText's `lid.176.ftz`, or the path of another model (DataComp used `lid.176.bin`).
    """
    if size not in ("original", "stored"):
        raise PlanError(f'datacomp.basic(size={size!r}): expected "original" or "stored"')
    stored = size == "stored"
    width, height = (
        (col("datacomp.size.width"), col("datacomp.size.height")) if stored else (col("width"), col("height"))
    )
    text = _text_rules()
    sides = (Score(**{"datacomp.size": ImageSize()}),) if stored else ()
    return Chain((*text, *sides, *_size_rules(width, height, stored), *_english("datacomp", Language(language_model))))


def _text_rules() -> tuple[Rule, Rule]:
    return (
        Keep(col("text").word_count() > MIN_WORDS, reason="datacomp.too_few_words"),
        Keep(col("text").char_count() > MIN_CHARS, reason="datacomp.too_few_chars"),
    )


def _size_rules(width: Node, height: Node, stored: bool) -> tuple[Rule, Rule]:
    needs = {} if stored else {"width": _SIZE_HELP, "height": _SIZE_HELP}
    side = Keep(smaller(width, height) >= MIN_SIDE, reason="datacomp.too_small")
    aspect = Keep(larger(width, height) / smaller(width, height) <= MAX_ASPECT, reason="datacomp.extreme_aspect")
    return Rule(side.predicate, side.reason, needs), Rule(aspect.predicate, aspect.reason, needs)


def _english(name: str, scorer: Language | Gcld3) -> tuple[Score, Rule]:
    score = f"{name}.language"
    return Score(**{score: scorer}), Keep(col(f"{score}.label") == "en", reason=f"{name}.not_english")


@stage(example='datacomp.clip_score("clip_l14_similarity_score", fraction=0.3)')
def clip_score(column: str, *, fraction: float | str | None = None, threshold: float | None = None) -> Rule:
    """DataComp's CLIP score baseline on a stored score column: a fraction of the whole pool, or a fixed threshold.

    With a fraction the threshold is the element at position `int(N * fraction)` of the scores in descending order and
    every row with `score >= threshold` stays, so one more row than asked, and all that tie.

    Raises:
        PlanError: for fraction 1.0, where the published script itself fails with an IndexError.
    """
    reason = f"{column}.below_cut"
    if (fraction is None) == (threshold is None):
        raise PlanError("datacomp.clip_score() needs exactly one of fraction= and threshold=")
    if threshold is not None:
        return Above(column, threshold, reason=reason)
    if float(fraction or 0) == 1.0:
        raise PlanError("datacomp.clip_score(fraction=1.0): DataComp's rank is past the end there; leave the stage out")
    return Top(column, fraction=fraction, of="pool", rank="pool", ties="include", position="datacomp", reason=reason)


@stage(example="datacomp.laion2b()")
def laion2b(column: str = "clip_b32_similarity_score") -> Chain:
    """LAION-2B's rule as DataComp has it: ViT-B/32 similarity >= 0.28 and English by gcld3 (`poolsieve[gcld3]`)."""
    return Chain((Above(column, LAION2B_SIMILARITY, reason="laion2b.below_cut"), *_english("laion2b", Gcld3())))
