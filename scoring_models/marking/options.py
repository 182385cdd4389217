"""Multiple choice: options found in a question's text and taken out of it, the right one, and their rotations.

Stage 1 of DatBench (arXiv 2601.02316, 3.1): a question is asked without its options, or as often as it has options,
each time with another of them first, and counts as solved only if every rotation is.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
from pyarrow import types

from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.outcomes import RIGHT_FROM
from poolsieve.scoring_models.marking.gold import Gold
from poolsieve.scoring_models.marking.letters import LETTERS, gold_letters
from poolsieve.scoring_models.marking.texts import normal

FEWEST_INLINE = 3
"""Options in one line without brackets, or with small letters: fewer are initials ("A. Smith or B. Jones") or
references ("figures (a) and (b)")."""

OPTIONS = "options (lists of texts, or their number)"
"""What messages call them."""

MOST_LISTS = 10
"""Lists that are looked at in one text, from its end. Options are in the last as a rule."""

_MARK = re.compile(r"(?<![\w(\[])(?:[(\[]([A-Za-z])([)\]])|([A-Za-z])([).:])(?=\s))")
_HEADER = re.compile(r"(?:^|\s)(?:answer )?(?:options|choices) ?:?\Z", re.IGNORECASE)
_ABOUT = re.compile(r"\b(?:letter|letters|option|options|option's|choice|choices)\b", re.IGNORECASE)
_ASKS = re.compile(r"\b(?:answer|select|choose|pick|respond|reply|provide|give|indicate)\b", re.IGNORECASE)
_BETWEEN = re.compile(r"(?:[,;](?: (?:or|and))?|\n[ \t]{0,9}[-*•])\Z")


class Listed(NamedTuple):
    """A question's text without its options, and the options that it had, without their letters."""

    question: str
    options: tuple[str, ...]


class Choice(NamedTuple):
    """A question of multiple choice: its text without options, the options, and the place of the right one from 0."""

    question: str
    options: tuple[str, ...]
    right: int

    @property
    def letter(self) -> str:
        """The right letter."""
        return LETTERS[self.right]

    @property
    def answer(self) -> str:
        """The text of the right option."""
        return self.options[self.right]


def listed_in(text: str, options: Sequence[str] = ()) -> Listed | None:
    """The options that a question's text lists, and the text without them; None where it lists none.

    They are marked with letters from A on, all in one way: `A. ...`, `A) ...`, `A: ...`, `(A) ...`, `[A] ...`, each in
    a line of its own, or several in a line. Of several such lists the last counts, those in lines of their own before
    the others. The last option ends with its line. A heading ("Options:") goes with them, and so does a line that asks
    for a letter or an option ("Answer with the option's letter.").

    Args:
        text: the question.
        options: as they are known from elsewhere; then only a list of the same texts counts.
    """
    wanted = [normal(option) for option in options]
    runs = [*collections.deque(_runs(text), MOST_LISTS)][::-1]
    for own_lines in (True, False):
        for run in (run for run in runs if _own_line(text, run[0]) == own_lines):
            made = _cut(text, run)
            same = [normal(option) for option in made.options] == wanted if wanted else _likely(run, own_lines)
            if same and all(made.options):
                return made
    return None


def _runs(text: str) -> Iterator[list[re.Match[str]]]:
    """Marks that follow one another in the alphabet, from A, and are made alike."""
    open_runs: dict[tuple[bool, str, bool, bool], list[re.Match[str]]] = {}
    for mark in _MARK.finditer(text):
        letter = mark.group(1) or mark.group(3)
        style = (bool(mark.group(1)), mark.group(2) or mark.group(4), letter.isupper(), _own_line(text, mark))
        run = open_runs.get(style, [])
        if letter in "Aa":
            open_runs[style] = [mark]
            if len(run) > 1:
                yield run
        elif run and LETTERS.index(letter.upper()) == len(run):
            run.append(mark)
    yield from (run for run in open_runs.values() if len(run) > 1)


def _own_line(text: str, mark: re.Match[str]) -> bool:
    before = text[max(0, mark.start() - 20) : mark.start()]
    return mark.start() == len(before) - len(before.lstrip()) or before.rstrip(" \t*-").endswith("\n")


def _likely(run: Sequence[re.Match[str]], own_lines: bool) -> bool:
    bracketed = bool(run[0].group(1)) and run[0].group(1) == "A"
    return own_lines or bracketed or len(run) >= FEWEST_INLINE


def _cut(text: str, run: Sequence[re.Match[str]]) -> Listed:
    end = text.find("\n", run[-1].end())
    end = len(text) if end < 0 else end
    stops = [*(mark.start() for mark in run[1:]), end]
    parts = (text[mark.end() : stop].strip() for mark, stop in zip(run, stops, strict=True))
    options = tuple(" ".join(_BETWEEN.sub("", part).split()) for part in parts)
    return Listed(_stem(text[: run[0].start()], text[end:]), options)


def _stem(before: str, after: str) -> str:
    """What stands around a list of options, without a heading and lines that ask for one of them."""
    head = before.rstrip(" \t\n*-(")
    heading = _HEADER.search(head, max(0, len(head) - 30))
    lines = (head[: heading.start()] if heading else head).strip().split("\n")
    kept = [line for line in lines if not _asks_for_a_letter(line)] or lines
    kept += [line for line in after.split("\n") if line.strip() and not _asks_for_a_letter(line)]
    return "\n".join(kept).strip()


def without_requests(text: str) -> str:
    """A prompt's prefix or suffix without the lines that ask for a letter or an option."""
    return "\n".join(line for line in text.split("\n") if not _asks_for_a_letter(line))


def _asks_for_a_letter(line: str) -> bool:
    return _ABOUT.search(line) is not None and _ASKS.search(line) is not None


def unlabelled(options: Sequence[str]) -> tuple[str, ...]:
    """Options without their letters, where each begins with its own (`(A) a car`, `B. a dog`); else as they are."""
    matches = [_MARK.match(option.lstrip()) for option in options]
    letters = [(match.group(1) or match.group(3)).upper() if match else "" for match in matches]
    if len(options) < 2 or letters != list(LETTERS[: len(options)]):
        return tuple(option.strip() for option in options)
    return tuple(
        option.lstrip()[match.end() :].strip() for option, match in zip(options, matches, strict=True) if match
    )


def are_options(kind: pa.DataType) -> bool:
    """Whether a column of that type can hold options: lists of texts, or how many there are; nulls alone too."""
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type  # type: ignore[attr-defined]  # a list's
        return types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)
    return types.is_integer(kind) or types.is_null(kind)


def options_fault(options: Sequence[str]) -> RowError | None:
    """What is wrong with options that are to be asked for by letter; None for nothing."""
    if not 2 <= len(options) <= len(LETTERS):
        return RowError("bad_options", f"{len(options)} options: from 2 to {len(LETTERS)} can be asked for by letter")
    plain = [option.strip() for option in options]
    if "" in plain:
        return RowError("bad_options", f"option {LETTERS[plain.index('')]} is empty")
    for place, option in enumerate(plain):
        first = plain.index(option)
        if first < place:
            message = f"options {LETTERS[first]} and {LETTERS[place]} are the same: {option!r:.80}"
            return RowError("double_options", message)
    return None


def listing(question: str, options: Sequence[str] | int | None) -> Listed | RowError | None:
    """The options of a row, and its question without them; None for an open question; else what is wrong with them.

    Args:
        question: its text, with the options in it or without.
        options: their texts, with letters before them or without; how many there are, or None, where the text has them.
    """
    if isinstance(options, Sequence) and options:
        return _as_given(question, unlabelled(options))
    listed = listed_in(question)
    count = options if isinstance(options, int) else 0
    if listed is None:
        message = f"the item has {count} options, but its question does not list them"
        return RowError("no_options", message) if count else None
    if count not in (0, len(listed.options)):
        return RowError("bad_options", f"the item has {count} options, but its question lists {len(listed.options)}")
    return options_fault(listed.options) or listed


def _as_given(question: str, options: tuple[str, ...]) -> Listed | RowError:
    wrong = options_fault(options)
    if wrong is not None:
        return wrong
    listed = listed_in(question, options)
    other = None if listed else listed_in(question)
    if other is not None and len(other.options) == len(options):
        return RowError("bad_options", f"the question lists other options than the item has: {other.options!r:.200}")
    return Listed(listed.question if listed else question.strip(), options)


def choice_of(question: str | None, options: Sequence[str] | int | None, gold: Gold) -> Choice | RowError | None:
    """A row as a question of multiple choice; None for an open question; else what is wrong with it.

    Args:
        question, options: as in `listing`.
        gold: the right answer, as a letter or as an option's text. Its `options` are not looked at.
    """
    listed = listing(question or "", options)
    return _with_answer(listed, gold) if isinstance(listed, Listed) else listed


def _with_answer(listed: Listed, gold: Gold) -> Choice | RowError:
    if not listed.question:
        return RowError("no_question", "the question is empty without its options")
    letters = gold_letters(gold._replace(options=listed.options))
    if len(letters) > 1:
        return RowError("several_answers", f"options {' and '.join(sorted(letters))} are right: a choice has one")
    if not letters:
        said = repr(gold.answer or next(iter(gold.answers), None))
        return RowError(
            "answer_not_an_option", f"the right answer {said:.80} is not one of the options {listed.options!r:.200}"
        )
    return Choice(*listed, LETTERS.index(next(iter(letters))))


def turned(options: Sequence[str], by: int) -> tuple[str, ...]:
    """The options, `by` places to the left: what was number `by` comes first.

    >>> turned(("a", "b", "c"), 1)
    ('b', 'c', 'a')
    """
    return (*options[by:], *options[:by])


def rotations(choice: Choice) -> list[Choice]:
    """The same question as often as it has options, each time with another first; the right place moves along.

    >>> [(made.options, made.letter) for made in rotations(Choice("Which?", ("a", "b", "c"), 0))]
    [(('a', 'b', 'c'), 'A'), (('b', 'c', 'a'), 'C'), (('c', 'a', 'b'), 'B')]
    """
    count = len(choice.options)
    return [
        choice._replace(options=turned(choice.options, by), right=(choice.right - by) % count) for by in range(count)
    ]


def lettered(options: Sequence[str]) -> str:
    """The options as lines.

    >>> lettered(["a car", "a dog"])
    'A. a car\\nB. a dog'
    """
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def credit(marks: Sequence[float], count: int) -> float:
    """The mark of a question from those of its rotations: 1 if all `count` are there and right, else 0.

    One who guesses among N options is right by (1 / N) ** N, instead of 1 / N.
    """
    return float(0 < count == len(marks) and all(mark >= RIGHT_FROM for mark in marks))
