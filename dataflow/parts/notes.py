"""What parts leave for one another and for `finish`, in `OUT/parts/<run>/`, until the run is finished.

A run is called by a hash of what must be the same for all its parts: the pool's listing, the rules, the scorers'
fingerprints, and the cuts that were given. A task whose recipe is another, or whose pool has grown, is thus a part of
another run; its scores are as good as any, since these are looked up by what they are made from.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import msgspec

from poolsieve.dataflow import fs
from poolsieve.dataflow.parts.numbers import Share
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.layout import part_folder, part_note_url, part_recipe_url, parts_folder
from poolsieve.dataflow.store.summary import Work, cuts_to_json, dumps
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError

T = TypeVar("T")

_NAME = re.compile(r"([0-9]{1,7})-of-([0-9]{1,7})-pass-([0-9]{1,4})\.json", re.ASCII)

_SHOWN = 300
"""Characters of an error that a note keeps and a message repeats."""


class Note(msgspec.Struct, kw_only=True, frozen=True):
    """How far a process has come with its parts, in one pass. `work` is what it did, under the first of its parts."""

    state: Literal["begun", "scored", "failed"]
    error: str = ""
    work: Work = msgspec.field(default_factory=Work)


class Kept(msgspec.Struct, kw_only=True, frozen=True):
    """The recipe of the parts; no source for one that was made in Python."""

    source: RecipeSource | None


def run_of_parts(job: Job) -> str:
    """What the run is called whose parts are over the job's listing, with its recipe and its given cuts."""
    return digest([job.program.rules(), dict(job.fingerprints), job.pool_id, cuts_to_json(job.frozen)], 8)


def begin(job: Job, mark: str, share: Share, number: int) -> None:
    """Says that a process works on some parts, and with which recipe."""
    fs.write_new(part_recipe_url(job.out, mark), dumps(Kept(source=job.source)))
    note(job.out, mark, share, number, Note(state="begun"))


def note(out: str, mark: str, share: Share, number: int, said: Note) -> None:
    """Says how far a process has come with its parts in pass `number` (from 1)."""
    for i, part in enumerate(share.numbers):
        one = said if i == 0 else msgspec.structs.replace(said, work=Work())
        fs.write_bytes(part_note_url(out, mark, f"{part}-of-{share.of}-pass-{number}.json"), dumps(one))


def failed(error: BaseException) -> Note:
    """Of parts that were stopped."""
    return Note(state="failed", error=f"{str(error) or type(error).__name__}"[:_SHOWN])


def parts_of(out: str, mark: str) -> Counter[int]:
    """Number of parts that the pool was cut into -> how many of these have begun."""
    found = (_NAME.fullmatch(name) for name in fs.names(part_folder(out, mark)))
    return Counter(of for of, _ in {(int(one[2]), int(one[1])) for one in found if one})


def read_note(out: str, mark: str, part: int, of: int, number: int) -> Note | None:
    """What is said of one part in pass `number`; None if it has not begun, or what it left can't be read."""
    try:
        return _read(part_note_url(out, mark, f"{part}-of-{of}-pass-{number}.json"), Note)
    except (FileNotFoundError, PoolsieveError):
        return None


def work_of(out: str, mark: str) -> Work:
    """What all parts did; of one that was repeated, what it did last."""
    total = Work()
    for name in fs.names(part_folder(out, mark)):
        if _NAME.fullmatch(name):
            total.add(_read(part_note_url(out, mark, name), Note).work)
    return total


def marks(out: str) -> Sequence[str]:
    """Runs that parts have worked for in OUT and that are not finished."""
    return fs.names(parts_folder(out))


def kept_source(out: str, *, trust: bool = False) -> RecipeSource:
    """The recipe that the parts in OUT had, to be run: code that OUT holds, and OUT may be anybody's.

    Args:
        out: OUT.
        trust: whether it may be run whatever its file on this machine says.

    Raises:
        PlanError: if no part has left one, or several; for one that was made in Python; without `trust`, if it is not
            what its file says.
    """
    found = {dumps(one): one for one in (_recipe(out, mark) for mark in marks(out)) if one is not None}
    if not found:
        raise PlanError(f"no part has left its recipe in {out}: name it, as in `poolsieve finish RECIPE --out {out}`")
    if len(found) > 1:
        paths = sorted({one.source.path[:_SHOWN] if one.source else "one made in Python" for one in found.values()})
        raise PlanError(f"parts in {out} had {len(found)} recipes or parameters ({', '.join(paths)}): name the one")
    source = next(iter(found.values())).source
    if source is None:
        raise PlanError(f"the parts in {out} had a recipe that was made in Python, not in a file: name it")
    unlike = None if trust else source.unlike_files(out)
    if unlike is not None:
        raise PlanError(
            f"the recipe that {out} holds is not run, since it may be anybody's: {unlike}. Name the recipe (`poolsieve "
            "finish RECIPE --out OUT`), or have the text that OUT holds run with --trust-recipe (from Python "
            "trust_recipe=True)"
        )
    return source


def _recipe(out: str, mark: str) -> Kept | None:
    try:
        return _read(part_recipe_url(out, mark), Kept)
    except FileNotFoundError:
        return None


def _read(url: str, kind: type[T]) -> T:
    try:
        data: Any = json.loads(fs.read_bytes(url))
        return msgspec.convert(data, kind)
    except FileNotFoundError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise PoolsieveError(f"{url} is damaged: remove it") from error
