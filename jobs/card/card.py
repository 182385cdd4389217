"""A dataset's card: `README.md`, whose front matter and one block are ours, and whose rest is whoever's edited it.

The same subject and the same README give the same bytes, and the card that comes out gives itself again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from poolsieve.dataflow.publish.contents import Subject
from poolsieve.jobs.card.body import body
from poolsieve.jobs.card.front_matter import joined, merged, parsed, split
from poolsieve.jobs.card.markdown import prose
from poolsieve.jobs.card.marks import Marked, Note, block, parted
from poolsieve.jobs.card.metadata import OURS, TAGS, card_values, methods
from poolsieve.jobs.report.data import facts_of

_HINT = "<!-- poolsieve writes between these two marks each time it publishes; what stands outside of them stays. -->"


def card_text(subject: Subject, existing: str | None = None) -> str:
    """The card of a dataset, with what somebody wrote into the one that is there.

    Of the front matter the keys of `metadata.OURS` are replaced, the license too where one is given, and our tags;
    everything else stays, comments included. Of the rest, what stands between our marks is replaced; a README without
    them gets our block at its end. Line ends are those of the README; a byte order mark goes.

    Args:
        subject: what is published.
        existing: the present README.md; None or blank where there is none.

    Raises:
        PlanError: for a README whose front matter or whose marks are broken; for a decision of an older version.
        PoolsieveError: for a summary in OUT that can't be.
    """
    readme = split(existing or "")
    marked = parted(readme.body)
    front, note = _front(subject, readme.front or "", marked.note)
    text = block(f"{_HINT}\n\n{body(subject)}", note)
    around = _around(subject, marked, text.replace("\n", readme.line_end), readme.line_end)
    # A README that had no front matter begins below one now, after an empty line.
    gap = readme.line_end if readme.front is None and marked.before.strip() else ""
    return joined(front, gap + around, readme.line_end)


def _front(subject: Subject, front: str, before: Note) -> tuple[str, Note]:
    there = parsed(front)
    facts = facts_of(subject.run.url, subject.run.summary)
    tags, added = _tags(there.get("tags"), before.tags, (*TAGS, *methods(facts)))
    values = card_values(subject)
    name = {} if there.get("pretty_name") else {"pretty_name": pretty_name(subject.repo)}
    ordered: dict[str, Any] = {**{key: values.pop(key) for key in ("license",) if key in values}, **name}
    note = Note(keys=tuple(key for key in OURS if key in values), tags=added)
    gone = frozenset(key for key in before.keys if key in OURS)
    info: dict[str, Any] = {key: values.pop(key) for key in ("dataset_info", "configs") if key in values}
    return merged(front, {**ordered, **values, "tags": tags, **info}, gone), note


def _tags(there: Any, earlier: Iterable[str], ours: Iterable[str]) -> tuple[list[Any], tuple[str, ...]]:
    """All tags, the user's first; and those of ours that the user had not."""
    entries = there if isinstance(there, list) else [] if there is None else [there]
    theirs = [tag for tag in entries if tag not in set(earlier)]
    added = tuple(tag for tag in ours if tag not in theirs)
    return [*theirs, *added], added


def pretty_name(repo: str) -> str:
    """A dataset's name in words.

    >>> pretty_name("org/laion-clean_v2")
    'laion clean v2'
    """
    return repo.rpartition("/")[2].replace("-", " ").replace("_", " ").strip() or repo


def _around(subject: Subject, marked: Marked, text: str, line_end: str) -> str:
    """The README's own text, with the block where it was, or at the end."""
    if marked.after is not None:
        return marked.before + text + marked.after
    if not marked.before.strip():
        return f"{line_end}# {prose(pretty_name(subject.repo))}{line_end}{line_end}{text}{line_end}"
    ended = "" if marked.before.endswith(("\n", "\r")) else line_end
    return f"{marked.before}{ended}{line_end}{text}{line_end}"
