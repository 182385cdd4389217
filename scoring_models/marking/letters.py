"""The option that an answer names: by its letter, in the usual spellings, or by its text."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence

from poolsieve.scoring_models.marking.final import final_answer
from poolsieve.scoring_models.marking.gold import Gold, accepted, no_answer
from poolsieve.scoring_models.marking.texts import normal

LETTERS = string.ascii_uppercase
"""Options beyond Z have no letter."""

_WHOLE = re.compile(r"[(\[]?([A-Za-z])[)\]]?[.:,;]?")
_LEADING = re.compile(r"[(\[]?([A-Za-z]) ?[)\].:] ")
_CAPITAL = r"(?:[B-HJ-Z]|[AI](?! (?!(?:is|or|and)\b)[a-z]))(?![\w'’-])"
_LETTER = rf"[(\[]?({_CAPITAL}|[a-z](?=[)\].,:;\n]|\Z))"
_ANSWER = re.compile(rf"\b(?i:answer(?: {{1,2}}(?:is|would be))?:? {{0,2}}(?:option |choice )?){_LETTER}")
_OPTION = re.compile(rf"\b(?i:option|choice) {{0,2}}{_LETTER}")
_BRACKETS = re.compile(r"[(\[]([A-Za-z])[)\]]")
_ALONE = re.compile(rf"(?<![\w'’-])({_CAPITAL})")


def letter_named(said: str, options: Sequence[str] = (), count: int = 0) -> str | None:
    """The one option that an answer names, as a capital letter; None where it names none, or several.

    The final answer is looked at; where it names none, the whole text is, for "answer is B" alone: what else is said of
    options there may be said against them. The first of these that names any option decides: the letter alone (`b`,
    `(B)`, `B.`), the option's text alone, a letter at the beginning (`B) a car`), "answer is B", "option B", letters in
    brackets, capitals that stand alone, texts of options among other words (an option within a longer one that is there
    too does not count). A capital A or I before a small letter is a word ("A dog"), except before is, or, and; a small
    letter counts after "answer is" only where it ends the phrase.

    Args:
        said: any text.
        options: their texts; "" where only the number is known.
        count: how many there are, where no texts are given; 0 for any up to 26.
    """
    known = LETTERS[: len(options) or count or len(LETTERS)]
    final = final_answer(said).replace("*", "").strip()
    named = _named(final, options, known)
    if named is None and len(said) > len(final):
        named = _of(_ANSWER.findall(said.replace("*", "")), known)
    return next(iter(named)) if named is not None and len(named) == 1 else None


def _named(final: str, options: Sequence[str], known: str) -> set[str] | None:
    whole = _WHOLE.fullmatch(final)
    if whole:
        return _of(whole.group(1), known)
    same = with_text(final, options)
    if same:
        return same
    leading = _LEADING.match(final)
    if leading and leading.group(1).upper() in known:
        return {leading.group(1).upper()}
    return _in_letters(final, known) or _within(final, options)


def _of(letters: Iterable[str], known: str) -> set[str]:
    return {letter.upper() for letter in letters if letter.upper() in known}


def _in_letters(text: str, known: str) -> set[str] | None:
    for pattern in (_ANSWER, _OPTION, _BRACKETS, _ALONE):
        found = _of((match.group(1) for match in pattern.finditer(text)), known)
        if found:
            return found
    return None


def with_text(text: str, options: Sequence[str]) -> set[str]:
    """Letters of the options whose text this is: as it stands, else normalised."""
    lettered = list(zip(LETTERS, options, strict=False))
    same = {letter for letter, option in lettered if option.strip() and option.strip() == text.strip()}
    if same:
        return same
    plain = normal(text)
    return {letter for letter, option in lettered if plain and normal(option) == plain}


def _within(text: str, options: Sequence[str]) -> set[str] | None:
    """Letters of the options whose texts stand among other words."""
    padded = f" {normal(text)} "
    lettered = [(letter, f" {normal(option)} ") for letter, option in zip(LETTERS, options, strict=False)]
    there = {letter: option for letter, option in lettered if option.strip() and option in padded}
    inner = {a for a, one in there.items() for other in there.values() if len(one) < len(other) and one in other}
    return set(there) - inner or None


def gold_letters(gold: Gold) -> set[str]:
    """The letters that are right: each answer is a letter, the text of one option, or both (`B) a car`).

    Empty where an answer is none of these, is the text of several options, or is the letter of one and the text of
    another.
    """
    found: set[str] = set()
    for answer in accepted(gold):
        meant = _meant(answer.strip(), gold.options)
        if len(meant) != 1:
            return set()
        found |= meant
    return found


def _meant(answer: str, options: Sequence[str]) -> set[str]:
    whole = _WHOLE.fullmatch(answer)
    letters = _of(whole.group(1), LETTERS[: len(options) or len(LETTERS)]) if whole else set()
    meant = letters | with_text(answer, options)
    leading = None if meant else _LEADING.match(answer)
    if leading is None:
        return meant
    return _of(leading.group(1), LETTERS) & with_text(answer[leading.end() :], options)


def mark_letter(said: str, gold: Gold, _: float | None = None) -> float:
    """1 if the answer names one option and that is right."""
    return float(letter_named(said, gold.options) in gold_letters(gold))


def no_letter(gold: Gold) -> str | None:
    """Why an item can't be marked by letter; None if it can."""
    if no_answer(gold) or gold_letters(gold):
        return no_answer(gold)
    if not gold.options:
        return f"the right answer {gold.answer!r:.80} is no letter, and the item has no options"
    return f"the right answer {gold.answer!r:.80} is not one of the {len(gold.options)} options, by letter or by text"
