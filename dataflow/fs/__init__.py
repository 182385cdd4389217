"""Files anywhere fsspec reaches: absolute URLs, identities, retries, and the one atomic write that everything uses."""

from poolsieve.dataflow.fs.looking import (
    Stat,
    bases,
    entries,
    exists,
    files,
    info,
    modified,
    names,
    sizes,
    stat,
    stat_of,
    stats,
)
from poolsieve.dataflow.fs.places import LOCAL, TEMPORARY, StorageOptions, absolute, connect, is_local, join
from poolsieve.dataflow.fs.reading import download, read_bytes, whole
from poolsieve.dataflow.fs.removing import check_writable, leftovers, remove, remove_leftovers, remove_leftovers_beside
from poolsieve.dataflow.fs.writing import atomic_path, atomic_write, together, write_bytes, write_new

__all__ = [
    "LOCAL",
    "TEMPORARY",
    "Stat",
    "StorageOptions",
    "absolute",
    "atomic_path",
    "atomic_write",
    "bases",
    "check_writable",
    "connect",
    "download",
    "entries",
    "exists",
    "files",
    "info",
    "is_local",
    "join",
    "leftovers",
    "modified",
    "names",
    "read_bytes",
    "remove",
    "remove_leftovers",
    "remove_leftovers_beside",
    "sizes",
    "stat",
    "stat_of",
    "stats",
    "together",
    "whole",
    "write_bytes",
    "write_new",
]
