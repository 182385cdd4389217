"""One case of pool fuzzing: a pool of good and damaged files is sieved twice; what must hold is asked of both ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz import checks, tasks
from tests.fuzz.boxes import Box, boxed
from tests.fuzz.worlds import WORLDS, Case, Good, damaged, picture_in, write_world

GOOD_FILES = 4
FORMATS = ("same", "parquet", "jsonl", "webdataset")


@dataclass(frozen=True, kw_only=True)
class Damaged:
    """A damaged file by its name in the pool, and which good file it was."""

    name: str
    of: str
    case: Case


def pool_case(kind: str, seed: int, folder: Path, *, files: int, pictures: bool = False) -> list[str]:
    """What does not hold for a pool of `files` damaged files among good ones; nothing, if all is well.

    The first good file stands before all others, so that the pool's types are what they should be: a damaged file may
    cost itself, and never the run.
    """
    world, r = WORLDS[kind], Random(f"{kind} {seed}")
    goods = {f"0-good-{i}": world.make(r, i) for i in range(GOOD_FILES)}
    made = [_damaged(kind, i, goods, r, pictures) for i in range(files)]
    # The same good files, so that lines of the two pools can be compared: a derived uid holds the path.
    cases = [(f"{name}.{good.ending}", _packed(good)) for name, good in goods.items()]
    write_world(folder / "good", world, cases)
    write_world(folder / "pool", world, [*cases, *((one.name, one.case.data) for one in made)])
    checks.canaries(folder / "about")
    ours = [folder / name for name in ("out", "again", "good-out", "logs", "alone")]
    before = checks.fence(folder, *ours)
    # Beam and the report take most of a case's time: with every fourth seed, the first among them.
    found = _sieved(kind, folder, r, made, whole=seed % 4 == 1)
    after = checks.fence(folder, *ours)
    if found is None:
        found = _compared(folder, goods, made)
    return found + checks.differences(before, after)


def _packed(good: Good) -> bytes:
    return good.data if good.packed is None else good.packed(good.data)


def _damaged(kind: str, i: int, goods: dict[str, Good], r: Random, pictures: bool) -> Damaged:
    name = r.choice(list(goods))
    good, other = goods[name], goods[r.choice(list(goods))]
    case = picture_in(r, good) if pictures else damaged(r, WORLDS[kind], good, other)
    return Damaged(name=f"1-{i:03d}.{good.ending}", of=f"{name}.{good.ending}", case=case)


def _sieved(kind: str, folder: Path, r: Random, made: Sequence[Damaged], whole: bool) -> list[str] | None:
    """Both runs; None if they went well, else what fell, with the files that made it fall."""
    (folder / "logs").mkdir()
    formats = ["same", r.choice([name for name in FORMATS[1:] if name != WORLDS[kind].format])]
    pool, size, workers = str(folder / "pool"), r.choice((1, 2, 3, 5)), r.choice((0, 0, 0, 0, 0, 2))
    box = Box(tasks.sieve, kind, pool, str(folder / "out"), formats, whole, log=folder / "logs" / "out")
    again = Box(tasks.sieve_again, kind, pool, str(folder / "again"), size, workers, log=folder / "logs" / "again")
    first, second = box.outcome(), again.outcome()
    good, out = str(folder / "good"), str(folder / "good-out")
    alone = boxed(tasks.sieve_again, kind, good, out, 4096, 0, log=folder / "logs" / "good")
    if alone.how != "ok":
        return [f"the good files alone: {alone}"]
    if first.how == "ok" and second.how == "ok":
        return first.value or None
    blamed = [text for one in made for text in _blame(kind, folder, one, formats)]
    return [f"{first} / {second}", *blamed]


def _blame(kind: str, folder: Path, one: Damaged, formats: Sequence[str]) -> list[str]:
    """What falls in a pool of one good file and this damaged one."""
    place, good = folder / "alone" / one.name, min((folder / "pool").iterdir())
    write_world(place / "pool", WORLDS[kind], [(good.name, good.read_bytes()), (one.name, one.case.data)])
    pool, out = str(place / "pool"), str(place / "out")
    outcome = boxed(tasks.sieve, kind, pool, out, formats, False, log=place / "log")
    if outcome.how == "ok" and not outcome.value:
        return []
    return [f"{one.name} ({one.case.name} of {one.of}; kept in {place}): {outcome} {outcome.value or ''}"]


def _compared(folder: Path, goods: dict[str, Good], made: Sequence[Damaged]) -> list[str]:
    """Good files are as they are without the damaged ones; rows that the damage left alone are what they were."""
    found = []
    first, again = checks.ledger_bytes(folder / "out"), checks.ledger_bytes(folder / "again")
    found += [f"another ledger in small batches: {name}" for name in sorted(first) if first[name] != again.get(name)]
    alone, lines = checks.ledger_bytes(folder / "good-out"), checks.ledgers(folder / "out")
    found += [f"a damaged neighbour changed {name}" for name in alone if alone[name] != first.get(name)]
    for one in made:
        was, now = lines[one.of], lines.get(one.name)
        if now is None:
            found.append(f"{one.name} has no ledger")
            continue
        # Of a row whose uid is its own. Lines are compared as text, since NaN is not itself.
        lost = [i for i in sorted(one.case.untouched) if i >= len(now) or repr(now[i]) != repr(was[i])]
        if lost:
            found.append(
                f"{one.name} ({one.case.name} of {one.of}): rows {lost} of {len(was)} were not touched, and have other "
                f"lines: {was[lost[0]]} is {now[lost[0]] if lost[0] < len(now) else 'not there'}; in {folder}"
            )
    return found
