"""Which files a pool is made of: brace ranges, globs, gaps, sizes and tags. Reads listings only, never contents."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import iglob
from typing import Any

import pyarrow.compute as pc

from poolsieve.dataflow import fs
from poolsieve.dataflow.fs import is_local
from poolsieve.dataflow.pools.braces import names
from poolsieve.dataflow.pools.entries import Info, base_of, describe, glob, list_folder, refuse_folder, usable
from poolsieve.dataflow.pools.hub_commits import check_readable
from poolsieve.dataflow.pools.packed import Shards
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.retries import retrying
from poolsieve.dataflow.storage_errors import StorageForbidden, explained
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.groups import in_groups

_FEW = 8
"""Up to this many names of one folder are asked for one by one; for more, the folder is listed."""

_THREADS = 16

_AT_ONCE = 1024
"""Names that are asked for one by one before what came of them is taken."""


@dataclass(frozen=True)
class Listing:
    """The shards of a pool, sorted by path and row group, and the patterns or names that matched nothing.

    `unsplit` are those of the shards that are big files whose pieces nobody knows yet.
    """

    shards: Shards
    gaps: tuple[str, ...] = ()
    unsplit: tuple[Shard, ...] = ()

    @property
    def files(self) -> int:
        """The number of files; one file may be several shards."""
        return int(pc.count_distinct(self.shards.table.column("path")).as_py())

    @property
    def nbytes(self) -> int:
        """The size of all files, each counted once (every shard of a file bears the file's size)."""
        return round(float(self.shards.shares.sum()))


def wildcard_at(url: str) -> int:
    """Where the first glob or brace character of `url` stands; its length if there is none.

    In an http URL a `?` starts the query, so it is no wildcard there.
    """
    special = "*[{" if url.startswith(("http://", "https://")) else "*?[{"
    return min((place for place in map(url.find, special) if place >= 0), default=len(url))


def split_scheme(url: str) -> tuple[str, str]:
    """`("s3://", "bucket/key")`; a local path has the scheme "" and keeps its leading slash."""
    place = url.rfind("://")
    return (url[: place + 3], url[place + 3 :]) if place >= 0 else ("", url)


def common_root(urls: Sequence[str]) -> str:
    """The longest folder that all (absolute) patterns share, free of glob and brace characters, without a final slash.

    Raises:
        PlanError: when they share none, so that there is nothing that paths could be relative to.
    """
    heads = [
        (scheme, rest.rpartition("/")[0]) for scheme, rest in (split_scheme(url[: wildcard_at(url)]) for url in urls)
    ]
    schemes = {scheme for scheme, _ in heads}
    parts = posixpath.commonprefix([tuple(rest.split("/")) for _, rest in heads]) if len(schemes) == 1 else ()
    scheme = heads[0][0]
    if not parts or (scheme not in ("", "memory://") and not parts[0]):
        raise PlanError(
            f"the pool's URLs share no folder or bucket: {', '.join(urls[:3])}. Use one pool for each storage."
        )
    return (scheme + "/".join(parts)) or "/"


def url_of(root: str, path: str) -> str:
    """The URL of the file `path` below `root`."""
    return (root if root.endswith("/") else root + "/") + path


def find(urls: Sequence[str], root: str, options: fs.StorageOptions) -> tuple[Shards, list[str]]:
    """The files that `urls` (absolute) match, as shards in order, and the names and patterns without a file.

    Raises:
        PlanError: when nothing matches at all, when a range has too many names, and for what matches but is no file.
        StorageError: when storage can't be listed.
    """
    system, base = fs.connect(root, dict(options))
    system.invalidate_cache()
    gaps: list[str] = []
    try:
        found = _lookup(system, urls, gaps)
        shards = Shards.of(_shard(_relative(name, base), info) for name, info in found).in_order()
    except StorageForbidden:
        check_readable(urls, options)
        raise
    if not shards:
        check_readable(urls, options)
        raise PlanError(_nothing(system, urls))
    return shards, list(dict.fromkeys(gaps))


def first(urls: Sequence[str], root: str, options: fs.StorageOptions) -> list[Shard]:
    """A few of the files that `urls` (absolute) match, without listing a folder of a million: a look ahead.

    The first names of brace ranges and, on local disk, the first that a glob finds. Empty where only a whole listing
    tells.
    """
    pieces = list(dict.fromkeys(itertools.islice(names(urls), _FEW)))
    system, base = fs.connect(root, dict(options))
    literal = [piece for piece in pieces if wildcard_at(piece) == len(piece)]
    if len(literal) == len(pieces) < _FEW:
        return []  # so few that the listing itself is as quick
    if is_local(system):
        literal += itertools.islice((name for piece in pieces if piece not in literal for name in iglob(piece)), _FEW)
    found = {_path(system, piece): info for piece in literal if (info := _info(system, piece))}
    return sorted(_shard(_relative(name, base), info) for name, info in found.items())


def gap_message(gaps: Sequence[str], pieces: int) -> str:
    """What to say about names of a range that have no file."""
    first = ", ".join(gaps[:5]) + (", ..." if len(gaps) > 5 else "")
    count = f"{len(gaps):,} of the {pieces:,} names" if pieces > 1 else "1 name"
    return f"{count} in the pool's URLs have no file: {first}. Pass allow_gaps=True to go on without them."


def _shard(path: str, info: Info) -> Shard:
    size, tag = fs.stat_of(info)
    return Shard(path=path, size=size, tag=tag)


def _relative(name: str, base: str) -> str:
    return name.removeprefix(base.rstrip("/")).lstrip("/")


def _lookup(system: Any, urls: Sequence[str], gaps: list[str]) -> Iterator[tuple[str, Info]]:
    """(path, entry) of each file, some of them twice; patterns and names without a file go to `gaps`."""
    folders: dict[str, list[str]] = {}
    for piece in names(urls):
        folder, _, name = piece.rpartition("/")
        if wildcard_at(piece) == len(piece):
            folders.setdefault(folder, []).append(name)
        else:
            yield from _matching(system, piece, gaps)
    few = (f"{folder}/{name}" for folder, group in folders.items() if not _listable(system, group) for name in group)
    for piece, info in _one_by_one(system, few):
        yield from _known(system, piece, info, gaps)
    for folder, group in folders.items():
        if _listable(system, group):
            yield from _listed(system, folder, group, gaps)


def _matching(system: Any, piece: str, gaps: list[str]) -> Iterator[tuple[str, Info]]:
    missing = True
    for found in _glob(system, piece):
        yield found
        missing = False
    if missing:  # a file may be named "a[1].parquet": what matches nothing as a glob is looked for by its own name
        yield from _known(system, piece, _info(system, piece), gaps)


def _known(system: Any, piece: str, info: Info | None, gaps: list[str]) -> Iterator[tuple[str, Info]]:
    if info is None:
        gaps.append(piece)
    else:
        yield _path(system, piece), info


def _path(system: Any, url: str) -> str:
    return str(system._strip_protocol(url))


def _glob(system: Any, piece: str) -> Iterator[tuple[str, Info]]:
    if not _is_http(system):
        return glob(system, _path(system, piece))
    linked = [name for name, info in _links_of_pages(system, piece).items() if usable(info)]
    # A page of links says nothing of sizes: each file is asked for its own.
    return ((name, info) for name, info in _one_by_one(system, linked) if info is not None)


@retrying
def _links_of_pages(system: Any, piece: str) -> dict[str, Info]:
    """What a pattern on a web server matches: the links on the pages of its folders."""
    return dict(system.glob(piece, detail=True, on_error="raise"))


def _one_by_one(system: Any, pieces: Iterable[str]) -> Iterator[tuple[str, Info | None]]:
    """Each name with its entry; a few are asked for at a time."""
    with ThreadPoolExecutor(_THREADS) as threads:
        for some in in_groups(pieces, _AT_ONCE):
            yield from zip(some, threads.map(lambda piece: _info(system, piece), some), strict=True)


def _listed(system: Any, folder: str, group: Sequence[str], gaps: list[str]) -> Iterator[tuple[str, Info]]:
    """The files of one folder that bear these names, by a look at all of it."""
    missing = dict.fromkeys(group)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for info in list_folder(system, _path(system, folder) or "/"):
            piece = f"{folder}/{base_of(info)}"
            if base_of(info) in missing and _is_file(info, piece):
                del missing[base_of(info)]
                yield _path(system, piece), info
    gaps.extend(f"{folder}/{name}" for name in missing)


def _listable(system: Any, group: Sequence[str]) -> bool:
    return len(group) > _FEW and not _is_http(system)


def _is_http(system: Any) -> bool:
    return "http" in ((system.protocol,) if isinstance(system.protocol, str) else system.protocol)


def _info(system: Any, piece: str) -> Info | None:
    info = describe(system, piece)
    return info if info is not None and _is_file(info, piece) else None


def _is_file(info: Info, piece: str) -> bool:
    if usable(info):
        return True
    refuse_folder(info, piece)
    return False


def _nothing(system: Any, urls: Sequence[str]) -> str:
    for url in urls:
        if wildcard_at(url) == len(url) and system.isdir(_path(system, url)):
            return f"{url} is a folder: name its files, as {url_of(url, '*')}"
    folder = urls[0][: wildcard_at(urls[0])].rpartition("/")[0] or "/"
    text = f"the pool is empty: no file matches {', '.join(map(repr, urls[:3]))}."
    try:
        listed = fs.entries(system, _path(system, folder) or "/")
    except (FileNotFoundError, NotADirectoryError) as error:
        if found := explained(error, folder):
            return f"{text} {found}"
        return f"{text} There is no folder {folder}.{_nearest_folder(system, folder)}"
    there = sorted(map(base_of, listed))
    near = difflib.get_close_matches(next(names(urls)).rpartition("/")[2], there, n=1, cutoff=0.4)
    guess = f" Nearest: {near[0]}." if near else ""
    some = ", ".join(there[:5]) + (" ..." if len(there) > 5 else "")
    return f"{text} {folder} has {len(there):,} entries: {some}.{guess}"


def _nearest_folder(system: Any, folder: str) -> str:
    parent, _, base = folder.rpartition("/")
    try:
        listed = system.ls(_path(system, parent) or "/", detail=False)
    except (OSError, ValueError):
        return ""
    there = [str(name).rstrip("/").rpartition("/")[2] for name in listed]
    near = difflib.get_close_matches(base, there, n=1, cutoff=0.4)
    return f" Did you mean {parent}/{near[0]}?" if near else ""
