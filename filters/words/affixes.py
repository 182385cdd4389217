"""spaCy's way with one piece of a text, step for step, in time linear in its length.

`_split_affixes` and `_attach_tokens` of explosion/spaCy (`spacy/tokenizer.pyx`, 3.8) take a mark off either end, copy
what is left, search and hash it whole, and begin again, so 20 KB of "(" take 26 seconds. The same steps are made here
between two positions: what is taken off depends on the few characters at an end, and what is left can only be a special
case when it is short. Its expression for URLs tries every "@" from every ":", and is asked here once for each "@".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

WINDOW = 8
"""Characters at an end of a piece that decide what spaCy takes off there, but for a run of dots, which has no limit.

Its longest suffix has 5 ("اكواب"), with 1 before it that has to be a digit; a prefix has 3 and looks at no more than 1
behind it. A test reads this off its expressions.
"""

_DOTS = re.compile(r"\.+")
_LOGIN = r"(?:\S+(?::\S*)?@)?"
"""The part of spaCy's expression for URLs that is quadratic: anything before an "@"."""
_SCHEME = re.compile(r"[\w+\-.]{2,}://")


class Affixes:
    """Tokens of a piece before special cases are looked for in runs of them.

    Attributes:
        opening, closing: marks that are always taken off a front, off an end, one by one.
        whole: texts that are special cases as they stand -> their tokens; `longest` is the longest of them.
        prefix, suffix: characters that spaCy takes off the first, the last `WINDOW` characters.
        infixes: its search for what cuts a core.
    """

    def __init__(self, tokenizer: Any, opening: str, closing: str) -> None:
        from spacy.symbols import ORTH

        self.opening, self.closing = frozenset(opening), frozenset(closing)
        self.whole = {text: [part[ORTH] for part in parts] for text, parts in tokenizer.rules.items()}
        self.longest = max(map(len, self.whole))
        self.prefix: Callable[[str], int] = functools.lru_cache(1 << 14)(tokenizer.find_prefix)
        self.suffix: Callable[[str], int] = functools.lru_cache(1 << 14)(tokenizer.find_suffix)
        self.infixes = tokenizer.infix_finditer
        self.is_url = url_matcher(tokenizer.url_match)

    def tokens(self, piece: str, whole: Mapping[str, Sequence[str]]) -> list[str]:
        """The tokens of a piece without blanks; `whole` is the attribute of that name, or empty for none of these."""
        start, stop, front, back = 0, len(piece), list[str](), list[str]()
        while start < stop and not self.in_whole(piece, start, stop, whole):
            first = self.taken_from_front(piece, start, stop)
            if first and self.in_whole(piece, start + first, stop, whole):
                front.append(piece[start : start + first])
                start += first
                break
            last = self.taken_from_end(piece, start + first, stop)
            if last and self.in_whole(piece, start, stop - last, whole):
                back.append(piece[stop - last : stop])
                stop -= last
                break
            if not first and not last:
                break
            front += [piece[start : start + first]] if first else []
            back += [piece[stop - last : stop]] if last else []
            start, stop = start + first, stop - last
        return [*front, *self.core_tokens(piece[start:stop], whole), *reversed(back)]

    def in_whole(self, piece: str, start: int, stop: int, whole: Mapping[str, Sequence[str]]) -> bool:
        """Whether that part of the piece is a special case as it stands."""
        return stop - start <= self.longest and piece[start:stop] in whole

    def taken_from_front(self, piece: str, start: int, stop: int) -> int:
        """How many characters of piece[start:stop] spaCy takes off its front."""
        if piece[start] in self.opening:
            return 1
        taken = self.prefix(piece[start : min(start + WINDOW, stop)])
        dots = _DOTS.match(piece, start, stop) if taken == WINDOW else None
        return dots.end() - start if dots else taken

    def taken_from_end(self, piece: str, start: int, stop: int) -> int:
        """How many characters of piece[start:stop] spaCy takes off its end."""
        if start == stop or piece[stop - 1] in self.closing:
            return int(start < stop)
        taken = self.suffix(piece[max(start, stop - WINDOW) : stop])
        if taken == WINDOW:  # nothing but dots
            while taken < stop - start and piece[stop - taken - 1] == ".":
                taken += 1
        return taken

    def core_tokens(self, core: str, whole: Mapping[str, Sequence[str]]) -> Sequence[str]:
        """The tokens of what is left when nothing more can be taken off."""
        if core in whole:
            return whole[core]
        if not core or self.is_url(core):
            return [core] if core else []
        found, done = [], 0
        for match in self.infixes(core):
            start, stop = match.span()
            if start == 0:  # spaCy leaves it with what comes behind it
                continue
            found += [core[done:start], core[start:stop]] if start > done else [core[start:stop]]
            done = stop
        return [*found, core[done:]] if done < len(core) else found


def url_matcher(match: Any) -> Callable[[str], bool]:
    """spaCy's `url_match` as a question, in linear time, for texts without blanks.

    What it takes is a scheme, which may be missing, anything before an "@", which may be missing, and a host with what
    follows it. So the host begins at the start, behind "://", or behind some "@", and has none in it.
    """
    _, host = match.__self__.pattern.split(_LOGIN)
    from_host = re.compile(host).match

    def is_url(text: str) -> bool:
        scheme = _SCHEME.match(text)
        starts = {0, scheme.end() if scheme else 0}
        at = text.find("@", 1)
        while at >= 0:
            starts.add(at + 1)
            at = text.find("@", at + 1)
        return any(from_host(text, start) for start in sorted(starts))

    return is_url
