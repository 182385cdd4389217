"""Which decision of which OUT: all that travels with a predicate, small and the same for everybody who makes it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.store.layout import decisions_folder, manifest_url, shards_url, subset_url
from poolsieve.dataflow.store.manifest import PoolRecord, read_ledger
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.dataflow.store.shard_lines import ShardLine, pool_id, read_shards
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, unknown_name

OWN = ("row", "uid", "keep", "reason")
"""Columns of a ledger that are no scores."""


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """A decision, and how it is looked at. Pickles in about a kilobyte; the lists themselves stay on disk.

    Attributes:
        out: URL of OUT.
        decision: its id.
        mark: hash of the decision's ledger files: what the cache is looked up by.
        pool: as the manifest has it.
        rows, kept: of the pool, and of those kept.
        repeated: those kept, each as often as it leaves; None where each leaves once.
        listed: whether OUT has `subset.npy`, so that every kept uid is 32 hexadecimal digits.
        sha256: of that file; empty where OUT is of an older version, which does not say.
        scores: that go along.
        roots: where the pool's files are: part of a union (else "") -> folder.
        cache: folder for what is made here; empty for the usual one.
    """

    out: str
    decision: str
    mark: str
    pool: PoolRecord
    rows: int
    kept: int
    repeated: int | None = None
    listed: bool
    sha256: str = ""
    scores: tuple[str, ...] = ()
    roots: Mapping[str, str] = field(default_factory=dict)
    cache: str = ""

    @property
    def leaving(self) -> int:
        """Kept rows, each as often as it leaves: entries of the list of uids."""
        return self.kept if self.repeated is None else self.repeated

    @property
    def files(self) -> PoolFiles:
        """The pool's files, by their names alone: nothing is listed or opened."""
        return self.pool.pool().located()

    @property
    def has_uids(self) -> bool:
        """Whether the pool's files say what a row's uid is; else uids were derived from paths and positions."""
        return all("uid" in place.roles for place in self.files.places)

    def lines(self) -> list[ShardLine]:
        """One line a shard."""
        with self.still_there():
            return read_shards(self.out, self.decision)

    def ledger(self, line: ShardLine, columns: Sequence[str] | None) -> pa.Table:
        """Some columns of a shard's ledger."""
        with self.still_there():
            return read_ledger(self.out, self.decision, line, columns)

    @contextlib.contextmanager
    def still_there(self) -> Iterator[None]:
        """Says so where the decision has been removed since.

        Raises:
            PoolsieveError: naming it, and what to do.
        """
        try:
            yield
        except (PoolsieveError, FileNotFoundError) as error:
            if fs.exists(shards_url(self.out, self.decision)):
                raise
            if not fs.exists(manifest_url(self.out)):
                raise PoolsieveError(
                    f"there is no run in {self.out} any more: if it was moved, take it from where it is now, with "
                    f"poolsieve.kept(OUT, decision={self.decision!r})"
                ) from error
            raise PoolsieveError(
                f"decision {self.decision} is gone from {self.out}: `poolsieve prune` removes all but the current one. "
                "Decide as before to make it again (equal rules give an equal decision), or take the current one with "
                f"poolsieve.kept({self.out!r})"
            ) from error


def fixed(
    out: str,
    *,
    scores: Sequence[str] = (),
    decision: str | None = None,
    root: str | Mapping[str, str] | None = None,
    cache: str | None = None,
) -> Fixed:
    """Looks a decision up; see `kept.kept`.

    Raises:
        PlanError: if there is no whole run, no such decision or score, or `root` does not fit the pool.
    """
    run = OutFolder(out)
    there = run.decision if decision is None else _known(run, decision)
    lines = run.shards if there == run.decision else _earlier(run, there)
    made = Fixed(
        out=run.url,
        decision=there,
        mark=digest([[line.name, line.ledger_sha256] for line in lines], 8),
        pool=run.manifest.pool if there == run.decision else _pool_then(run, lines),
        rows=sum(line.rows for line in lines),
        kept=sum(line.kept for line in lines),
        repeated=sum(line.leaving for line in lines) if any(line.repeated is not None for line in lines) else None,
        listed=fs.exists(subset_url(run.url, there)),
        sha256=_sha256(run, there),
        scores=_names(scores),
        roots=_roots(run.manifest.pool.pool().located(), root),
        cache="" if cache is None else fs.absolute(cache),
    )
    if made.scores:
        _check_scores(made, lines)
    return made


def _known(run: OutFolder, decision: str) -> str:
    there = fs.names(decisions_folder(run.url))
    if decision in there:
        return decision
    raise unknown_name(f"{run.url} has no decision {decision!r} (any more)", str(decision), there)


def _sha256(run: OutFolder, decision: str) -> str:
    """Of the decision's `subset.npy`: the manifest has it of the current one, its summary of an earlier one."""
    if decision == run.decision:
        found = run.manifest.subset
        return "" if found is msgspec.UNSET else found.sha256
    with contextlib.suppress(PlanError):  # without a summary, as decisions of older versions are
        subset = run.summary_of(decision).subset
        return "" if subset is None else subset.sha256
    return ""


def _earlier(run: OutFolder, decision: str) -> Sequence[ShardLine]:
    """The shards of another decision than the manifest's, if they are the current pool's too, which may have grown."""
    lines = read_shards(run.url, decision)
    current = {line.shard.identity for line in run.shards}
    other = next((line.path for line in lines if line.shard.identity not in current), None)
    if other is not None:
        raise PlanError(
            f"decision {decision} in {run.url} is of another pool than the current one, whose files alone are known "
            f"({other} has changed, or is none of them): run its recipe again"
        )
    return lines


def _pool_then(run: OutFolder, lines: Sequence[ShardLine]) -> PoolRecord:
    """The pool as an earlier decision had it, so that its predicate is the same as it was then."""
    now = run.manifest.pool
    then = pool_id([line.shard for line in lines], now.pool().located().marks)
    return msgspec.structs.replace(now, id=then, shards=len(lines))


def _names(scores: Sequence[str]) -> tuple[str, ...]:
    if isinstance(scores, str) or not all(isinstance(name, str) for name in scores):
        raise PlanError(f"scores={scores!r}: give a list of names, as scores=['dfn']")
    return tuple(dict.fromkeys(scores))


def _check_scores(made: Fixed, lines: Sequence[ShardLine]) -> None:
    """Refuses names that are no numbers of the ledger. Its types are those of any shard."""
    table = made.ledger(lines[0], None)
    types = {item.name: item.type for item in table.schema if item.name not in OWN}
    for name in made.scores:
        if name not in types:
            raise unknown_name(f"the ledger has no score {name!r}", name, types)
        if not is_number(types[name]):
            raise PlanError(f"score {name!r} is {types[name]}, and only numbers go along; the ledger has its values")


def is_number(kind: pa.DataType) -> bool:
    """Whether a score can go along."""
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def _roots(files: PoolFiles, root: str | Mapping[str, str] | None) -> dict[str, str]:
    """Prefix of a part (else "") -> where its files are."""
    parts = {place.prefix.rstrip("/"): place.root for place in files.places}
    if root is None:
        return parts
    if isinstance(root, str) and list(parts) != [""]:
        raise PlanError(f"the pool is a union: give root={{part: folder}} for its parts {', '.join(parts)}")
    given = {"": root} if isinstance(root, str) else dict(root)
    for name in given:
        if name not in parts:
            raise unknown_name(f"root= names {name!r}, which is no part of the pool", name, parts)
    return {**parts, **{name: folder.rstrip("/") for name, folder in given.items()}}
