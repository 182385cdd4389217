"""VQA's soft accuracy: how many of the people who were asked said the same."""

from __future__ import annotations

import re

from poolsieve.scoring_models.marking.final import final_answer
from poolsieve.scoring_models.marking.gold import Gold, no_answer
from poolsieve.scoring_models.marking.texts import ARTICLES, NUMBER_WORDS

AGREE = 3
"""So many others make an answer wholly right (Antol et al., arXiv 1505.00468)."""

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
"""`punct` of VQA's evaluation (GT-Vision-Lab/VQA, vqaEval.py), in its order. Full stops are dealt with apart."""

_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
o'clock oughtn't shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _shortened(whole: str) -> list[str]:
    """The word with each of its apostrophes left out in turn."""
    return [whole[:at] + whole[at + 1 :] for at, mark in enumerate(whole) if mark == "'"]


CONTRACTIONS = {short: whole for whole in _CONTRACTED.split() for short in _shortened(whole)} | {
    "somebody'd": "somebodyd",
    "'ow'sat": "'ow's'at",
    "'ows'at": "'ow's'at",
    "ow's'at": "'ow's'at",
}
"""`contractions` of VQA's evaluation: an apostrophe is put back. What it says of "somebody'd" is the wrong way round;
its entries with a capital are left out, since what is looked up has none."""

_DIGIT_COMMA = re.compile(r"\d,\d")
_STOP = re.compile(r"\.(?!\d)")


def vqa_normal(text: str) -> str:
    """A text as VQA-v2's evaluation compares it (`processPunctuation`, `processDigitArticle`), in lower case.

    A mark is removed where a blank stands on either side of it somewhere in the text, or where some comma in the text
    stands between digits; else it becomes a blank. Full stops go unless a digit follows (the evaluation removes only
    the first 32 of a text, having given a flag in the place of a count).
    """
    lowered = text.lower().strip().replace("\n", " ").replace("\t", " ").strip()
    plain = lowered
    drops = _DIGIT_COMMA.search(lowered) is not None
    for mark in PUNCTUATION:
        gone = drops or mark + " " in lowered or " " + mark in lowered
        plain = plain.replace(mark, "" if gone else " ")
    words = [NUMBER_WORDS.get(word, word) for word in _STOP.sub("", plain).split() if word not in ARTICLES]
    return " ".join(CONTRACTIONS.get(word, word) for word in words)


def mark_vqa(said: str, gold: Gold, _: float | None = None) -> float:
    """The mean over people of min(1, m / 3), where m of the *other* people gave the answer that was said (VQA-v2).

    With n people of whom c agree, each of those c has c - 1 others who do, each other person c. So a single given
    answer can't be marked, and two can't reach a half: see `no_people`. An empty answer is wrong.
    """
    final = final_answer(said)
    given, people = vqa_normal(final), [vqa_normal(answer) for answer in gold.answers]
    agree = people.count(given) if final else 0
    total = agree * min(agree - 1, AGREE) + (len(people) - agree) * min(agree, AGREE)
    return total / (AGREE * len(people)) if agree else 0.0


def no_people(gold: Gold) -> str | None:
    """Why an item can't be marked by soft accuracy; None if it can."""
    if len(gold.answers) < AGREE:
        return no_answer(gold) or f"VQA's soft accuracy needs the answers of {AGREE} people, not {len(gold.answers)}"
    return None
