"""Buckets of the Hub (`hf://buckets/org/name/...`) as fsspec has them, for work by many at once.

huggingface_hub's own file system is made for a notebook: it lists a file's whole folder to look at the file, keeps that
listing for ever and one for each thread, calls a file missing when the Hub was only busy, and says the writer's clock
for the time of a file. Here a look is one request and nothing is remembered, what goes wrong is raised, a file's time
is the Hub's, and a write is one upload. Buckets have no rename, no folders, and no create-if-absent.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from huggingface_hub import HfFileSystem
from huggingface_hub.errors import BucketBatchError, BucketNotFoundError, HfHubHTTPError
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    build_hf_headers,
    disable_progress_bars,
    enable_progress_bars,
    get_session,
    hf_raise_for_status,
)


class _Quiet:
    """Without the client's bars, while any thread is in it: they are the process' own, and a run has its display."""

    def __init__(self) -> None:
        self._lock, self._inside, self._bars = threading.Lock(), 0, False

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1 and not are_progress_bars_disabled():
                self._bars = True
                disable_progress_bars()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._bars:
                self._bars = False
                enable_progress_bars()


_QUIET = _Quiet()


class Buckets(HfFileSystem):  # type: ignore[misc]  # huggingface_hub's is untyped
    """Files of buckets; `path` is `buckets/org/name/...` everywhere."""

    def resolve_path(self, path: str, revision: str | None = None) -> Any:
        """The bucket and the path in it.

        Raises:
            BucketNotFoundError: if there is no such bucket: no file being there is something else.
        """
        try:
            return super().resolve_path(path, revision)
        except FileNotFoundError as error:
            if isinstance(error.__cause__, BucketNotFoundError):
                raise error.__cause__ from None
            raise

    def info(self, path: str, refresh: bool = False, revision: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """A file's or folder's entry, by one request for a file and a second one for a folder.

        Raises:
            FileNotFoundError: when there is neither.
        """
        place = self.resolve_path(path)
        whole = place.unresolve()
        if not place.path:
            return {"name": whole, "size": 0, "type": "directory"}
        found = next(iter(self._api.get_bucket_paths_info(place.bucket_id, [place.path])), None)
        if found is not None:
            return _entry(whole, found)
        below = self._api.list_bucket_tree(place.bucket_id, f"{place.path}/")
        if next(iter(below), None) is None:
            raise FileNotFoundError(whole)
        return {"name": whole, "size": 0, "type": "directory"}

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether it is there. A Hub that does not answer is an error, and no "no"."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """What is in a folder now."""
        try:
            return list(super().ls(path, detail=detail, **{**kwargs, "refresh": True}))
        finally:
            self.dircache.clear()

    def find(self, path: str, maxdepth: int | None = None, withdirs: bool = False, **kwargs: Any) -> Any:
        """All files below a folder now."""
        try:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, **{**kwargs, "refresh": True})
        finally:
            self.dircache.clear()

    def modified(self, path: str, **kwargs: Any) -> datetime:
        """When a file was written, by the Hub's clock: its `mtime` is the writer's.

        Raises:
            NotImplementedError: where the Hub does not say.
        """
        found = self.info(path).get("uploaded_at")
        if not isinstance(found, datetime):
            raise NotImplementedError(f"the Hub does not say when {path} was written")
        return found

    def put_file(self, lpath: str, rpath: str, *args: Any, **kwargs: Any) -> None:
        """One upload of a local file, which is visible when it is whole."""
        if os.path.isdir(lpath):
            return
        self._upload(rpath, lpath)

    def get_file(self, rpath: str, lpath: Any, **kwargs: Any) -> None:
        """One download."""
        with _QUIET:
            super().get_file(rpath, lpath, **kwargs)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        """One upload of `value`; with `mode="create"` it looks first, since the Hub has no create-if-absent.

        Raises:
            FileExistsError: if there is a file, and none may be replaced.
        """
        if mode == "create" and self.exists(path):
            raise FileExistsError(path)
        self._upload(path, bytes(value))

    def _upload(self, path: str, source: str | bytes) -> None:
        place = self.resolve_path(path)
        try:
            with _QUIET:
                self._api.batch_bucket_files(place.bucket_id, add=[(source, place.path)])
        except HfHubHTTPError:
            raise
        except Exception:
            # hf_xet says "network error" too where the Hub gives it no token: then the Hub says why.
            self._check_writer(place.bucket_id)
            raise

    def _check_writer(self, bucket: str) -> None:
        url = f"{self.endpoint}/api/buckets/{bucket}/xet-write-token"
        hf_raise_for_status(get_session().get(url, headers=build_hf_headers(token=self.token)))

    def rm(
        self, path: str | Sequence[str], recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> None:
        """Removes a file, or a folder with all that is below it, by one listing and one request for 1,000 files.

        Raises:
            FileNotFoundError: when there is nothing.
        """
        for one in [path] if isinstance(path, str) else path:
            self._remove(one, maxdepth)

    def rm_file(self, path: str) -> None:
        """Removes one file."""
        self._remove(path, None)

    def _remove(self, path: str, maxdepth: int | None) -> None:
        place = self.resolve_path(path)
        root = f"{place.root}/"
        found = [name.removeprefix(root) for name in self.find(path, maxdepth=maxdepth)]
        if not found:
            raise FileNotFoundError(path)
        try:
            self._api.batch_bucket_files(place.bucket_id, delete=found)
        except BucketBatchError:
            # Somebody else removed some of them meanwhile, which is what was asked for.
            if list(self._api.get_bucket_paths_info(place.bucket_id, found)):
                raise

    def url(self, path: str) -> str:
        """Where a file is read from; asked for once for each range, so that it asks the Hub for nothing."""
        place = self.resolve_path(path)
        return f"{self.endpoint}/buckets/{place.bucket_id}/resolve/{quote(place.path)}"

    def invalidate_cache(self, path: str | None = None) -> None:
        """Nothing is remembered but which buckets are there; of those that are not, nothing any more."""
        self.dircache.clear()
        known: dict[str, tuple[bool, Exception | None]] = self._bucket_exists_cache  # type: ignore[has-type]
        self._bucket_exists_cache = {name: found for name, found in known.items() if found[0]}


def _entry(name: str, found: Any) -> dict[str, Any]:
    """As listings of the client have it."""
    return {
        "name": name,
        "size": found.size,
        "type": "file",
        "xet_hash": found.xet_hash,
        "mtime": found.mtime,
        "uploaded_at": found.uploaded_at,
    }
