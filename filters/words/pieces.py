"""spaCy's English tokens of one whitespace-delimited piece of a text, without asking spaCy.

spaCy (explosion/spaCy, `spacy/tokenizer.pyx` and `lang/punctuation.py`, 3.8) takes marks off both ends of a piece, one
after the other, cuts what is left at infixes, and then looks for special cases ("don't", ":)") in what it has. What a
mark does is found out by asking its expressions once. Most pieces are words with a few marks, and lists of marks give
their tokens; where one thing could depend on another, `affixes.py` makes spaCy's steps one by one.
"""

from __future__ import annotations

import functools
import itertools
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import Any

from poolsieve.filters.words.affixes import Affixes

MARKS = string.punctuation + "“”‘’«»„‚—–…§¿¡"
"""What may be taken off a piece here, if spaCy takes it off whatever stands beside it."""

# One of each kind of thing that spaCy's expressions tell apart beside a mark, nothing included.
_BESIDE = ("", "a", "A", "0", "é", ".", "-", "%", "'", "s")
# Characters that infixes are made of: a core without any of them is one token.
_BETWEEN = frozenset(".,-~:<>=/+*^")
_INFIX = re.compile(
    r"([+\-*^.,~:<>=/](?:(?<=[0-9][+\-*^])(?=[0-9-])|(?<=[a-z,'\"`]\.)(?=[A-Z,'\"`])|(?<=[A-Za-z],)(?=[A-Za-z])"
    r"|(?<=[A-Za-z0-9][-~])(?=[A-Za-z])|(?<=[A-Za-z0-9]-)--?(?=[A-Za-z])|(?<=[A-Za-z0-9][:<>=/])(?=[A-Za-z])))"
)
"""spaCy's infixes, as far as they are ASCII; but for "..", which is left to `by_steps`."""

# A number with a unit ("5km"), which spaCy may take off as a suffix.
_MEASURE = re.compile("[0-9][A-Za-z/]+$")
_SMALL = frozenset(string.ascii_lowercase + string.digits)
_CAPITALS = frozenset(string.ascii_uppercase)
_POSSESSIVE = ("'s", "'S", "’s", "’S")


_Tree = dict[str | None, Any]


class Splitter:
    """Tokens of a piece: by our own rules where they are sure, else by spaCy's steps. One serves all threads.

    A piece is read as marks, a core, and marks: `(well-known),` is `(`, `well-known` and `),`, and the core is cut at
    its infix into three tokens. The attributes say what spaCy does with marks, as its expressions answer when asked:

        opening      marks that it takes off the front one by one, whatever comes behind them
        closing      the same at the end; and ".", of which `stops_are_tokens` decides by what stands before
        before_stop  marks behind which a full stop is a token of its own, as behind the ")" of "a)."
        first, last  marks that it leaves where they are, at the front and at the end of a core
        affixes      its steps for any piece; what it takes off an end that no list decides ("5km"); and its match of
                     URLs, which it does not cut at infixes
        special      its special cases, which come last and may undo all this
    """

    def __init__(self) -> None:
        import spacy

        self.spacy = spacy.blank("en").tokenizer
        self.spacy.vocab.lex_attr_getters = {}  # attributes of words that nobody asks for take longer than splitting
        prefix, suffix = self.spacy.prefix_search, self.spacy.suffix_search
        self.opening = _ones(lambda mark, beside: _taken(prefix(mark + beside)))
        after = _ones(lambda mark, beside: _taken(suffix(beside + mark)))
        self.before_stop = frozenset(mark for mark in after if _taken(suffix(f"a{mark}.")) == 1)
        self.closing = "".join(sorted(after)) + "."
        # Not asked beside ".": spaCy takes ".." as one mark, and `core_tokens` leaves every ".." to `by_steps`.
        self.first = frozenset(
            mark for mark in "-/\\|@~^." if not any(prefix(mark + one) for one in _BESIDE if one != ".")
        )
        self.last = frozenset(mark for mark in "-/\\|@~^=" if not any(suffix(one + mark) for one in _BESIDE))
        self.affixes = Affixes(self.spacy, self.opening, after)
        self.special = SpecialCases(self.spacy, self.affixes)

    def by_steps(self, *pieces: str) -> list[str]:
        """The tokens of any pieces that have a blank between each two: they are what these are made of, in order."""
        return self.special.replaced([self.affixes.tokens(piece, self.affixes.whole) for piece in pieces])

    def by_rules(self, piece: str) -> list[str] | None:
        """The same of a piece that is a word or several, with marks around and between; None for others."""
        bare = piece.lstrip(self.opening)
        core = bare.rstrip(self.closing)
        tokens = [core] if core.isalpha() else self.core_tokens(core)
        if tokens is None:
            return None
        if len(core) < len(piece):
            closing = bare[len(core) :]
            if "." in closing and not self.stops_are_tokens(core, closing):
                return None
            tokens = [*piece[: len(piece) - len(bare)], *tokens, *closing]
        return None if self.special.any_in(tokens) else tokens

    def stops_are_tokens(self, core: str, closing: str) -> bool:
        """Whether each full stop of the marks after `core` is a token, as it is not in an abbreviation or ellipsis."""
        # spaCy takes a stop off after a small letter, a digit or two capitals: "end.", "1999.", "USA."; not "U.".
        if closing[0] == "." and core[-1] not in _SMALL and not _CAPITALS.issuperset(core[-2:].ljust(2)):
            return False
        places = (i for i in range(1, len(closing)) if closing[i] == ".")
        return len(closing) == 1 or all(closing[i - 1] in self.before_stop for i in places)

    def core_tokens(self, core: str) -> list[str] | None:
        """The tokens of what is left between the marks."""
        stem, possessive = (core[:-2], [core[-2:]]) if core.endswith(_POSSESSIVE) else (core, [])
        if stem.isalpha():
            return [stem, *possessive]
        # Each of these may be cut, or not, by rules that look further than the lists here do.
        if not stem.isascii() or not stem or ".." in stem or "$" in stem or stem.endswith(_POSSESSIVE):
            return None
        if not (stem[0].isalnum() or stem[0] in self.first) or not self.keeps_its_end(stem):
            return None
        return [stem, *possessive] if _BETWEEN.isdisjoint(stem) else [*self.cut_at_infixes(stem), *possessive]

    def keeps_its_end(self, stem: str) -> bool:
        """Whether spaCy leaves the last character where it is."""
        last = stem[-1:]
        if last.isdigit() or last in self.last:
            return True
        return last.isalpha() and not (_MEASURE.search(stem) and self.affixes.taken_from_end(stem, 0, len(stem)))

    def cut_at_infixes(self, stem: str) -> list[str]:
        """A word cut at its infixes, unless it is a URL."""
        parts = _INFIX.split(stem)
        return [stem] if len(parts) == 1 or ("." in stem and self.affixes.is_url(stem)) else parts


class SpecialCases:
    """spaCy's special cases, such as "don't" and ":)": runs of tokens of which it makes others, its last step.

    It looks for them in the tokens of a whole text, across blanks too: see `across`. The attributes, all of them about
    tokens as they are before this step:

        whole    the texts of all cases; a piece that is one is looked up before anything is taken off it
        affixes  makes those tokens
        cases    first token -> the runs beginning with it of which spaCy makes others; `starts` are those tokens
        merged   tokens that spaCy makes of several others
        runs     those that spaCy looks for in tokens, as a tree: token -> what may come next; None where a run ends
        longest  tokens of the longest run
        heads, tails, insides  beginnings, ends and inner parts of runs, none of them whole
        joints   pairs of neighbours in a run
        near     last character of the left and first of the right, for each of those pairs: a quick no
    """

    def __init__(self, tokenizer: Any, affixes: Affixes) -> None:
        self.whole, self.affixes = affixes.whole, affixes
        self.cases, self.merged, runs = _special_cases(tokenizer, affixes)
        self.runs = _tree(affixes.tokens(rule, {}) for rule in self.whole if _is_cut(tokenizer, rule))
        self.starts = frozenset(self.cases)
        self.longest = max(map(len, runs))
        self.heads = frozenset(run[:m] for run in runs for m in range(1, len(run)))
        self.tails = frozenset(run[m:] for run in runs for m in range(1, len(run)))
        self.insides = frozenset(run[i:j] for run in runs for j in range(2, len(run)) for i in range(1, j))
        self.joints = frozenset(pair for run in runs for pair in itertools.pairwise(run))
        self.near = frozenset(a[-1] + b[0] for a, b in self.joints)

    def any_in(self, tokens: list[str]) -> bool:
        """Whether spaCy would make other tokens of some of them."""
        return not self.starts.isdisjoint(tokens) and any(self.spans(tokens))

    def spans(self, tokens: list[str]) -> Iterator[tuple[int, int]]:
        """(start, stop) of the special cases in tokens that were made without them."""
        for i, token in enumerate(tokens):
            cases = (case for case in self.cases.get(token, ()) if tokens[i : i + len(case)] == case)
            yield from ((i, i + len(case)) for case in cases)

    def is_open(self, piece: str) -> bool:
        """Whether a special case that spaCy finds in a piece may overlap with one across the blank beside it."""
        tokens = self.affixes.tokens(piece, {})
        return piece not in self.whole and any(self.may_be_taken(tokens, *span) for span in self.spans(tokens))

    def may_be_taken(self, tokens: list[str], start: int, stop: int) -> bool:
        """Whether a special case begun before the tokens or ended behind them could take part of [start, stop)."""
        # Either all of the tokens lie inside of one such case, or their last m begin one that goes on behind the blank
        # (and m reaches back into the span), or their first m end one that began before it.
        n, most = len(tokens), min(len(tokens), self.longest)
        return (
            (n <= self.longest and tuple(tokens) in self.insides)
            or any(tuple(tokens[n - m :]) in self.heads for m in range(n - stop + 1, most + 1))
            or any(tuple(tokens[:m]) in self.tails for m in range(start + 1, most + 1))
        )

    def across(self, pieces: Callable[[], Iterable[str]], open_: Set[str]) -> bool:
        """Whether spaCy may see a special case across a blank beside a piece of which `is_open` is true.

        It makes no token of one, but takes it for the reason not to make one of what overlaps with it: the ":)" in
        "above:) )" is two tokens. `open_` are such pieces; `pieces` gives those of a text, more than once.
        """
        if open_.isdisjoint(pieces()):
            return False
        pairs = (pair for pair in itertools.pairwise(pieces()) if not open_.isdisjoint(pair))
        return any(a[-1] + b[0] in self.near and self.are_joined(a, b) for a, b in pairs)

    def are_joined(self, left: str, right: str) -> bool:
        """Whether the tokens at both sides of a blank are neighbours in a special case."""
        return (self.affixes.tokens(left, {})[-1], self.affixes.tokens(right, {})[0]) in self.joints

    def replaced(self, pieces: Sequence[Sequence[str]]) -> list[str]:
        """The tokens of pieces, which have a blank between each two, with spaCy's last step made.

        That is `_apply_special_cases` of `spacy/tokenizer.pyx`: a run over a blank stays as it is, but stands in the
        way of others.
        """
        tokens = list(itertools.chain.from_iterable(pieces))
        begins = set(itertools.accumulate(map(len, pieces)))
        made, done = list[str](), 0
        for start, stop in self.chosen(tokens):
            if begins.isdisjoint(range(start + 1, stop)):
                made += [*tokens[done:start], *self.whole["".join(tokens[start:stop])]]
                done = stop
        return [*made, *tokens[done:]]

    def chosen(self, tokens: Sequence[str]) -> list[tuple[int, int]]:
        """(start, stop) of the runs that spaCy replaces: of those that overlap the longest, then the first."""
        found, seen = [], bytearray(len(tokens))
        for start, stop in sorted(self.all_runs(tokens), key=lambda span: (span[0] - span[1], span[0])):
            if not seen[start] and not seen[stop - 1]:
                found.append((start, stop))
            # Also of one that is not chosen, so that a third, which overlaps with it alone, is not chosen either.
            seen[start:stop] = b"\1" * (stop - start)
        return sorted(found)

    def all_runs(self, tokens: Sequence[str]) -> Iterator[tuple[int, int]]:
        """(start, stop) of every run that is a special case."""
        for start, token in enumerate(tokens):
            node, stop = self.runs.get(token), start + 1
            while node is not None:
                if None in node:
                    yield start, stop
                node, stop = node.get(tokens[stop]) if stop < len(tokens) else None, stop + 1


@functools.cache
def splitter() -> Splitter:
    """This process's."""
    return Splitter()


def _taken(match: Any) -> int:
    """How many characters spaCy takes off."""
    return match.end() - match.start() if match else 0


def _ones(taken: Callable[[str, str], int]) -> str:
    """The marks that are taken off alone, whatever stands beside them."""
    return "".join(mark for mark in MARKS if all(taken(mark, one) == 1 for one in (*_BESIDE, mark)))


def _texts(tokenizer: Any, text: str) -> list[str]:
    return [token.text for token in tokenizer(text)]


def _is_cut(tokenizer: Any, rule: str) -> bool:
    """Whether spaCy looks for a special case in tokens, and not only as a whole piece."""
    return bool(tokenizer.find_prefix(rule) or tokenizer.find_infix(rule) or tokenizer.find_suffix(rule) or " " in rule)


def _tree(runs: Iterable[Sequence[str]]) -> _Tree:
    """Runs of tokens as a tree."""
    root: _Tree = {}
    for run in runs:
        node = root
        for token in run:
            node = node.setdefault(token, {})
        node[None] = {}
    return root


def _special_cases(
    tokenizer: Any, affixes: Affixes
) -> tuple[dict[str, list[list[str]]], frozenset[str], list[tuple[str, ...]]]:
    """(cases, merged, runs) of spaCy's special cases, which it looks for in any run of tokens.

    `cases`: first token -> the tokens that special cases have before spaCy finds them. `merged`: tokens that it makes
    of several others. `runs`: all that have several tokens, even if spaCy leaves them as they are.
    """
    cases: dict[str, list[list[str]]] = {}
    merged, runs = set[str](), []
    for rule in affixes.whole:
        tokens, made = affixes.tokens(rule, {}), _texts(tokenizer, rule)
        if len(tokens) > 1:
            runs.append(tuple(tokens))
        if tokens != made:
            cases.setdefault(tokens[0], []).append(tokens)
            merged.update(set(made).difference(tokens) if len(tokens) > 1 else ())
    return cases, frozenset(merged), runs
