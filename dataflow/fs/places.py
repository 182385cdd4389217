"""Where files are: absolute URLs, and the file system of each."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from poolsieve.dataflow.credentials import check_url, hide, without
from poolsieve.scoring_models.base.errors import PlanError

TEMPORARY = ".poolsieve-tmp-"
"""Prefix of files that are being written; a listing skips them and `prune` removes them."""


StorageOptions = Mapping[str, Any]
"""Keywords for fsspec's file systems: keys, endpoints. May hold secrets, so they are never stored."""


_LOCAL = re.compile(r"(?:file|local):(?://)?")
"""What fsspec takes for the beginning of a local path."""


def absolute(url: str | os.PathLike[str]) -> str:
    """`url` with a scheme, or an absolute local path without `.` and `..`; works from any directory afterwards.

    Raises:
        PlanError: if it is empty, as that of a variable that is not set, which would be this very folder; if it carries
            credentials, which would be stored with it.
    """
    url = os.fspath(url)
    if not url.strip():
        raise PlanError("the name of a file or folder is empty: is a variable not set?")
    check_url(url)
    url = _LOCAL.sub("", url, count=1) if _LOCAL.match(url) else url
    if "://" in url or url.startswith("memory:"):
        return url
    return os.path.abspath(os.path.expanduser(url))


LOCAL = LocalFileSystem()
"""This machine's files, as fsspec has them; it keeps nothing."""


def connect(url: str, options: StorageOptions | None = None) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of `url` and the path in it.

    Raises:
        PlanError: for a scheme that nothing here reads, and for options that its file system does not take.
    """
    if url.startswith("/") and "::" not in url and not options:  # asked for with each file of OUT
        return LOCAL, url.rstrip("/") or "/"
    try:
        if _BUCKET.match(url):
            return _bucket(url, options or {})
        system, path = url_to_fs(url, **dict(options or {}))
    except (ImportError, TypeError, ValueError) as error:
        said = without(" ".join(str(error).split()), options or {})
        raise PlanError(f"can't open {hide(url)}: {said}") from error
    return system, path


_BUCKET = re.compile(r"hf://buckets/")


def _bucket(url: str, options: StorageOptions) -> tuple[fsspec.AbstractFileSystem, str]:
    from poolsieve.dataflow.buckets import Buckets

    path = str(Buckets._strip_protocol(url))
    if path.count("/") < 2:
        raise PlanError(f"{url} names no bucket: write hf://buckets/org/name, and a folder in it")
    return Buckets(**options), path


def join(base: str, *parts: str) -> str:
    """`base/part/...` for URLs and paths alike."""
    return "/".join([base.rstrip("/") or "/", *parts])


def is_local(system: Any) -> bool:
    """Whether files can be opened by the operating system itself."""
    return isinstance(system, LocalFileSystem)
