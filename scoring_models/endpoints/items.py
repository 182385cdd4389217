"""The judge of a benchmark's items: what it is asked, and what it says.

What DatBench's third stage asks a strong model (arXiv 2601.02316, section 3.3): the item and its answer as privileged
information, three flags. The words here are our own.
"""

from __future__ import annotations

import pyarrow as pa

VERDICTS = ("ground_truth_wrong", "question_is_ambiguous", "needs_high_resolution")
"""Columns of a verdict, bool, in the order of the reasons that rules give."""

COLUMNS = dict.fromkeys(VERDICTS, pa.bool_())

_OPENING = """\
You review items of a benchmark before anybody is measured by it. You are shown a question{with_image} and the answer \
that its authors keep as the right one. Models were asked, and all of them answered otherwise. That may be because the \
item is hard, or because something is wrong with it. Your task is to tell which; being hard is no fault.

Work the question out for yourself first, then compare with the kept answer, and set three flags.

"ground_truth_wrong": true if the kept answer is not right: it contradicts {evidence}, it rests on something that \
nobody who is shown this item could know, or the question can't be answered at all.
"question_is_ambiguous": true if a careful reader may understand the question in several ways that lead to different \
answers, or if several answers are equally right and only one of them is kept.
"needs_high_resolution": {resolution}

A flaw that you can name is enough for a flag. If you are torn between sound and flawed, say flawed: a lost item costs \
less than a wrong one.
"""

_SIGHT = {
    True: {
        "with_image": ", the image that belongs to it,",
        "evidence": "the image or the facts",
        "resolution": "true if the answer hangs on a detail that is too small or too blurred to be made out in the "
        "image as it is shown to you.",
    },
    False: {
        "with_image": "",
        "evidence": "the question or the facts",
        "resolution": "false: this item has no image.",
    },
}


def item_prompt(question: str, answer: str, options: str | None, image: bool) -> str:
    """The prompt with a place for each role.

    Args:
        question, answer, options: names of roles; None for no options.
        image: whether the item's image is shown with it.
    """
    opening = _OPENING
    for word, said in _SIGHT[image].items():
        opening = opening.replace(f"{{{word}}}", said)
    choices = "" if options is None else f"Options:\n{{{options}}}\n\n"
    return f"{opening}\nQuestion:\n{{{question}}}\n\n{choices}Kept answer:\n{{{answer}}}"
