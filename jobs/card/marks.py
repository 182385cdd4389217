"""The two comments in a README between which poolsieve writes, and what the first one notes for the next time.

    <!-- poolsieve:begin 1f0c5e6a7b8d9e0f; front matter: configs, dataset_info; tags: poolsieve, dfn -->
    ...
    <!-- poolsieve:end 1f0c5e6a7b8d9e0f -->

The number is a hash of what stands between them. A recipe that is quoted there may hold any text, but not the hash of
itself, so that nothing in it is taken for the end.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from poolsieve.scoring_models.base.errors import PlanError

_START = "<!-- poolsieve:begin"
_BEGIN = re.compile(
    r"^<!-- poolsieve:begin ([0-9a-f]{16}); front matter: ([a-z_, ]{0,500}); "
    r"tags: ([a-z0-9._, -]{0,5000}) -->(?=\r|\n|$)",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Note:
    """What was written into a front matter that had it not: `keys` of it, and entries of its `tags`."""

    keys: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A README's text around the block, and the note in it; `after` is None where there is no block."""

    before: str
    after: str | None
    note: Note


def block(text: str, note: Note) -> str:
    """A text between its two marks."""
    name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    keys, tags = ", ".join(note.keys), ", ".join(note.tags)
    begin = f"{_START} {name}; front matter: {keys}; tags: {tags} -->"
    return f"{begin}\n{text.strip()}\n<!-- poolsieve:end {name} -->"


def parted(body: str) -> Marked:
    """A README without its front matter, as what is before the block and after it.

    Raises:
        PlanError: for a first mark without its second, for one that was edited, and for two blocks.
    """
    begin = _BEGIN.search(body)
    if begin is None:
        if _has_mark(body):
            raise PlanError(f"README.md: a line `{_START} ... -->` was edited: remove it and the block that it begins")
        return Marked(before=body, after=None, note=Note())
    end = f"<!-- poolsieve:end {begin[1]} -->"
    at = body.find(end, begin.end())
    if at < 0:
        raise PlanError(
            f"README.md has a line `{_START} {begin[1]} ... -->` and no `{end}` after it: put that line back where "
            "poolsieve's text ends, or remove the first one with all of that text"
        )
    after = body[at + len(end) :]
    if _has_mark(after) or _has_mark(body[: begin.start()]):
        raise PlanError(f"README.md has two lines `{_START} ... -->`: remove one, and the block that it begins")
    return Marked(before=body[: begin.start()], after=after, note=Note(keys=_names(begin[2]), tags=_names(begin[3])))


def _has_mark(text: str) -> bool:
    return text.startswith(_START) or "\n" + _START in text or "\r" + _START in text


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)
