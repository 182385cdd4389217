"""Which files a pool is made of: brace ranges, globs, gaps, sizes and tags. Reads listings only, never contents."""

from __future__ import annotations

import difflib
import itertools
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import iglob
from typing import Any

from poolsieve.dataflow import fs
from poolsieve.dataflow.fs import is_local
from poolsieve.dataflow.pools.braces import names
from poolsieve.dataflow.pools.entries import Info, base_of, describe, glob, list_folder, refuse_folder, usable
from poolsieve.dataflow.pools.hub_commits import check_readable
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.retries import retrying
from poolsieve.dataflow.storage_errors import StorageForbidden, explained
from poolsieve.scoring_models.base.errors import PlanError

_FEW = 8
"""Up to this many names of one folder are asked for one by one; for more, the folder is listed."""

_THREADS = 16


@dataclass(frozen=True)
class Listing:
    """The shards of a pool, sorted by path and row group, and the patterns or names that matched nothing.

    `unsplit` are those of the shards that are big files whose pieces nobody knows yet.
    """

    shards: tuple[Shard, ...]
    gaps: tuple[str, ...] = ()
    unsplit: tuple[Shard, ...] = ()

    @property
    def files(self) -> int:
        """The number of files; one file may be several shards."""
        return len({shard.path for shard in self.shards})

    @property
    def nbytes(self) -> int:
        """The size of all files, each counted once (every shard of a file bears the file's size)."""
        return sum({shard.path: shard.size for shard in self.shards}.values())


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


def find(urls: Sequence[str], root: str, options: fs.StorageOptions) -> tuple[list[Shard], list[str]]:
    """The files that `urls` (absolute) match, as shards sorted by path, and the names and patterns without a file.

    Raises:
        PlanError: when nothing matches at all, when a range has too many names, and for what matches but is no file.
        StorageError: when storage can't be listed.
    """
    pieces = list(dict.fromkeys(names(urls)))
    system, base = fs.connect(root, dict(options))
    system.invalidate_cache()
    try:
        found, gaps = _lookup(system, pieces)
    except StorageForbidden:
        check_readable(urls, options)
        raise
    if not found:
        check_readable(urls, options)
        raise PlanError(_nothing(system, urls, pieces))
    shards = (_shard(_relative(name, base), info) for name, info in found.items())
    return sorted(shards), gaps


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


def _lookup(system: Any, pieces: Sequence[str]) -> tuple[dict[str, Info], list[str]]:
    globs = [piece for piece in pieces if wildcard_at(piece) < len(piece)]
    found = dict(_literal(system, [piece for piece in pieces if wildcard_at(piece) == len(piece)]))
    matches = {piece: {} if info is None else {_path(system, piece): info} for piece, info in found.items()}
    for piece in globs:
        # A file may be named "a[1].parquet": what matches nothing as a glob is looked for by its own name.
        literal = {} if (match := _glob(system, piece)) else dict(_literal(system, [piece]))
        matches[piece] = match or {_path(system, piece): info for info in literal.values() if info}
    files = {name: info for match in matches.values() for name, info in match.items()}
    return files, [piece for piece in pieces if not matches[piece]]


def _path(system: Any, url: str) -> str:
    return str(system._strip_protocol(url))


def _glob(system: Any, piece: str) -> dict[str, Info]:
    if not _is_http(system):
        return glob(system, _path(system, piece))
    linked = [name for name, info in _links_of_pages(system, piece).items() if usable(info)]
    # A page of links says nothing of sizes: each file is asked for its own.
    with ThreadPoolExecutor(_THREADS) as threads:
        found = zip(linked, threads.map(lambda name: _info(system, name), linked), strict=True)
        return {name: info for name, info in found if info is not None}


@retrying
def _links_of_pages(system: Any, piece: str) -> dict[str, Info]:
    """What a pattern on a web server matches: the links on the pages of its folders."""
    return dict(system.glob(piece, detail=True, on_error="raise"))


def _literal(system: Any, pieces: Sequence[str]) -> Iterator[tuple[str, Info | None]]:
    folders: dict[str, list[str]] = {}
    for piece in pieces:
        folders.setdefault(piece.rpartition("/")[0], []).append(piece)
    one_by_one = [piece for group in folders.values() if not _listable(system, group) for piece in group]
    if one_by_one:
        with ThreadPoolExecutor(min(_THREADS, len(one_by_one))) as threads:
            yield from zip(one_by_one, threads.map(lambda piece: _info(system, piece), one_by_one), strict=True)
    for folder, group in folders.items():
        if _listable(system, group):
            wanted = {piece.rpartition("/")[2]: piece for piece in group}
            entries = _entries(system, folder, wanted)
            yield from ((piece, entries.get(name)) for name, piece in wanted.items())


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


def _entries(system: Any, folder: str, wanted: Mapping[str, str]) -> dict[str, Info]:
    """Name -> entry of the files in a folder that are `wanted` (name -> piece)."""
    try:
        listed = list_folder(system, _path(system, folder) or "/")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    named = ((base_of(info), info) for info in listed)
    return {name: info for name, info in named if name in wanted and _is_file(info, wanted[name])}


def _nothing(system: Any, urls: Sequence[str], pieces: Sequence[str]) -> str:
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
    near = difflib.get_close_matches(pieces[0].rpartition("/")[2], there, n=1, cutoff=0.4)
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
