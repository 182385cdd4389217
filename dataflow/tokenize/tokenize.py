"""`tokenize`: the documents of a pool as raw token files, as a Beam job that is atomic and goes on where it stopped."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from poolsieve.dataflow import fs, leases
from poolsieve.dataflow.export.carry import carried_out
from poolsieve.dataflow.export.target import LEASES
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.base import UID
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.dataflow.runners.base import import_beam
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.runners.supervise import Watch
from poolsieve.dataflow.tokenize.folder import TokensTarget
from poolsieve.dataflow.tokenize.index import (
    About,
    PoolSource,
    TokenFile,
    TokensIndex,
    file_names,
    total,
)
from poolsieve.dataflow.tokenize.write import TEXT, TokensPlan, check_text, write_shard
from poolsieve.dataflow.tokenizers.record import TOKENIZER_FILE
from poolsieve.dataflow.tokenizers.source import Tokenizer, dtype_for, find_tokenizer, located
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.packages import package_versions


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user asked for; see `tokenize`."""

    tokenizer: str
    revision: str | None = None
    length: int = 512
    dtype: str | None = None
    eos: str | None = None
    text: str | None = None
    uid: str | None = None

    def __post_init__(self) -> None:
        if type(self.length) is not int or self.length < 2:
            raise PlanError(
                f"length={self.length!r}: a chunk has two ids or more, the second one predicted by the first"
            )


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Tokenising that passed every check which can be made before work starts.

    Attributes:
        plan: for the workers.
        target: the folder.
        shards: the pool's, in order.
        tokenizer: what it is done with.
        gaps: names of a range that have no file.
    """

    plan: TokensPlan
    target: TokensTarget
    shards: Sequence[Shard]
    tokenizer: Tokenizer
    gaps: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The files that are to be there in the end, the index left out."""
        return [*(name for shard in self.shards for name in file_names(shard)), TOKENIZER_FILE]


def prepare(pool: Pool, to: str | os.PathLike[str], wishes: Wishes) -> Prepared:
    """Checks a wish, lists the pool and loads the tokenizer.

    Raises:
        PlanError: for anything that can't work.
    """
    url, name = fs.absolute(to), located(wishes.tokenizer)
    files = _with_sources(pool.located(), wishes)
    tokenizer = find_tokenizer(name, wishes.revision, wishes.eos)
    dtype = dtype_for(tokenizer.about, wishes.dtype)
    sources = files.sources((TEXT, UID))
    listing = files.listing()
    _outside(files, listing.shards, url)
    types = files.role_types(listing.shards, (TEXT,))
    check_text(types[TEXT], sources[TEXT])
    source = PoolSource(
        kind=files.format,
        urls=files.patterns,
        root=files.root,
        text=sources[TEXT],
        uid=sources[UID],
        sample=files.sample.mark if files.sample else (),
    )
    about = About(tokenizer=tokenizer.about, dtype=dtype, length=wishes.length, pool=source)
    return Prepared(
        plan=TokensPlan(files=files, types=types, about=about),
        target=TokensTarget(url, about.about_id),
        shards=listing.shards,
        tokenizer=tokenizer,
        gaps=listing.gaps,
    )


def _with_sources(files: PoolFiles, wishes: Wishes) -> PoolFiles:
    """The pool's files with no other roles than text and uid."""
    own = {role: files.roles[role] for role in (TEXT, UID) if role in files.roles}
    said = {TEXT: wishes.text, UID: wishes.uid}
    roles = {**own, **{role: source for role, source in said.items() if source is not None}}
    roles.setdefault(TEXT, files.own.text)
    return dataclasses.replace(files, roles=roles)


def _outside(files: PoolFiles, shards: Sequence[Shard], target: str) -> None:
    inside = next((shard.path for shard in shards if files.url(shard).startswith(target.rstrip("/") + "/")), None)
    if inside is not None:
        raise PlanError(f"{target} holds the pool ({inside}): write tokens to another folder with --to")


def tokenize(
    made: Prepared,
    *,
    replace: bool = False,
    engine: Engine = Engine(),
    watch: Watch | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> TokensIndex:
    """Writes a token file and a table of documents for each shard, then `tokens.json`.

    What is whole already and made of the same shards with the same settings is not made again.

    Args:
        made: from `prepare`.
        replace: other tokens in the folder may be removed.
        engine: where it runs, and how many shards at a time.
        watch: called in the calling thread while it runs; returns once the event is set.
        say: is told what should be known before work starts.

    Raises:
        PlanError: if the folder holds something else, before a byte is written.
        InUse: while another command writes to the folder.
        PoolsieveError: whatever stopped it, as the user should read it.
    """
    target = made.target
    fs.check_writable(target.url)
    with leases.held(target.path(LEASES), leases.SOLE, "poolsieve tokenize") as lease:
        target.admit(made.plan.about, made.names, replace)
        if made.gaps:
            say(f"names of the range without a file: {len(made.gaps):,}, the first {made.gaps[0]}")
        return carried_out(_Work(made, engine, lease), target.url, watch)


class _Work:
    """The job itself; `index` is what `tokens.json` says, once it is called."""

    def __init__(self, made: Prepared, engine: Engine, lease: leases.Lease | None) -> None:
        self.made, self.engine, self.lease = made, engine, lease
        self.index: TokensIndex | None = None

    def __call__(self) -> None:
        """Claims the folder, writes what is missing, and closes with the index."""
        made, target = self.made, self.made.target
        there, index = target.records(made.shards), target.index()
        todo = [shard for shard in made.shards if file_names(shard)[0] not in there]
        kept = fs.exists(target.path(TOKENIZER_FILE))
        if not todo and kept and index is not None and set(index.names) == set(made.names):
            self.index = index
            return
        self._still_ours()
        target.claim(made.names)
        fs.write_bytes(target.path(TOKENIZER_FILE), made.tokenizer.text.encode())
        if todo:
            self._write(todo)
        self.index = self._finish()

    def _write(self, todo: Sequence[Shard]) -> None:
        # Here, since it loads Beam, which plans do without.
        import_beam()
        from poolsieve.dataflow.tokenize.pipeline import write_all

        write_all(self.engine, todo, write_shard, self.made.plan, self.made.target)

    def _finish(self) -> TokensIndex:
        made, target = self.made, self.made.target
        records = target.records(made.shards)
        lost = [name for name, _ in map(file_names, made.shards) if name not in records]
        if lost:
            raise PoolsieveError(f"{target.url}/{lost[0]} vanished meanwhile: run the same command again")
        files = tuple(records[file_names(shard)[0]] for shard in made.shards)
        index = _index(made, files)
        self._still_ours()
        target.finish(index)
        return index

    def _still_ours(self) -> None:
        """Before what would undo another command: this process may have been stopped for longer than a lease lasts."""
        if self.lease is not None:
            self.lease.check()


def _index(made: Prepared, files: tuple[TokenFile, ...]) -> TokensIndex:
    about, counts = made.plan.about, total(files)
    warnings = []
    if counts.unreadable:
        warnings.append(f"{counts.unreadable:,} rows could not be read and were left out")
    if not counts.tokens:
        warnings.append("no document gave a token")
    return TokensIndex(
        tokenizer=about.tokenizer,
        dtype=about.dtype,
        length=about.length,
        pool=about.pool,
        id=about.about_id,
        counts=counts,
        chunks=sum(file.chunks for file in files),
        warnings=tuple(warnings),
        files=files,
        versions=package_versions([_Needs]),
    )


class _Needs:
    packages = ("tokenizers", "transformers")
