"""The loopback Hub with Xet: it hands out tokens, stands before the storage server, and keeps buckets.

What clients ask of the storage goes through the Hub, which counts it, makes it fail as told to (`Fault`), and learns
from the shards which SHA-256 is which Xet hash, as the Hub does. The endpoints of buckets are those that the client
asks (`huggingface_hub/hf_api.py`, `_buckets.py`); their server is not public.
"""

from __future__ import annotations

import contextlib
import json
import re
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import huggingface_hub
import pytest
from huggingface_hub.utils._xet import abort_xet_session

from poolsieve.dataflow.buckets import Buckets
from tests import xet_server
from tests.hub_server import Handler, HubServer
from tests.hub_store import Refused
from tests.xet_server import XetServer

_PAGE = 1000
_HEADER, _ENTRY, _END = 48, 48, b"\xff" * 32
_VERIFIED, _WITH_SHA256 = 1 << 31, 1 << 30
STORAGE = ("/v1/", "/v2/", "/simulation/")
"""Paths that are the storage's."""


@dataclass(frozen=True)
class Stored:
    """A file of a bucket; `mtime` is what its writer said."""

    xet_hash: str
    size: int
    mtime: str
    uploaded_at: str

    def info(self, path: str) -> dict[str, Any]:
        times = {"mtime": self.mtime, "uploadedAt": self.uploaded_at}
        return {"type": "file", "path": path, "size": self.size, "xetHash": self.xet_hash, **times}


@dataclass
class Bucket:
    name: str
    private: bool = False
    files: dict[str, Stored] = field(default_factory=dict)


class XetHub(HubServer):
    """See the module.

    Attributes:
        storage: where the bytes are.
        buckets: name -> bucket.
        clock: seconds by which this Hub's clock is ahead.
    """

    def __init__(self, storage: XetServer) -> None:
        self.storage = storage
        self.buckets: dict[str, Bucket] = {}
        self.clock = 0.0
        self._contents: dict[str, bytes] = {}
        super().__init__()

    @property
    def handler(self) -> type[Handler]:
        return _XetHandler

    def stop(self) -> None:
        super().stop()
        self.storage.stop()

    def make_bucket(self, name: str, *, private: bool = False) -> Bucket:
        made = self.buckets[name] = Bucket(name, private)
        return made

    def contents(self, xet_hash: str) -> bytes:
        """Of a file that was uploaded.

        Raises:
            KeyError: if there is none.
        """
        if xet_hash not in self._contents:
            found = self.storage.contents(xet_hash)
            if found is None:
                raise KeyError(xet_hash)
            self._contents[xet_hash] = found
        return self._contents[xet_hash]

    def read(self, bucket: str) -> dict[str, bytes]:
        """Path -> contents of all files of a bucket."""
        return {path: self.contents(found.xet_hash) for path, found in sorted(self.buckets[bucket].files.items())}

    def learn(self, shard: bytes) -> None:
        """What a shard says of files: their contents are large objects now."""
        for xet_hash, sha256 in files_of(shard):
            if sha256 is not None:
                self.objects[sha256] = self.contents(xet_hash)
                self.xet_hashes[sha256] = xet_hash


def files_of(shard: bytes) -> Iterator[tuple[str, str | None]]:
    """Xet hash and SHA-256 of the files in a shard.

    Source: hf.co/docs/xet, "Shard format": a header of 48 bytes; for each file a header of 48 (hash, flags, number of
    segments), so many segments of 48, so many hashes of 48 to verify them if the highest flag is set, and 48 of
    metadata, SHA-256 first, if the one below it is; and an end whose hash is all ones.
    """
    at = _HEADER
    while (found := shard[at : at + 32]) != _END:
        flags, segments = struct.unpack_from("<II", shard, at + 32)
        at += _ENTRY * (1 + segments * (2 if flags & _VERIFIED else 1))
        sha256 = shard[at : at + 32] if flags & _WITH_SHA256 else None
        at += _ENTRY if sha256 is not None else 0
        yield spelled(found), None if sha256 is None else spelled(sha256)


def spelled(raw: bytes) -> str:
    """A hash as text: four little-endian numbers of 64 bits, in hexadecimal."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


class _XetHandler(Handler):
    hub: XetHub

    def route(self) -> tuple[int, bytes]:
        path = self.raw_path
        if path.startswith(STORAGE):
            return self.forward()
        token = re.fullmatch(r"/api/(datasets|buckets)/([^/]+/[^/]+)/xet-(read|write)-token(?:/.*)?", path)
        if token:
            return self.token(*token.groups())
        bucket = re.fullmatch(r"/api/buckets/([^/]+/[^/]+)(?:/([^/]*)(?:/(.*))?)?", path)
        if bucket:
            return self.bucket(bucket[1], bucket[2] or "", unquote(bucket[3] or ""))
        resolve = re.fullmatch(r"/buckets/([^/]+/[^/]+)/resolve/(.+)", path)
        if resolve:
            return self.stored(self.may_read(resolve[1]), unquote(resolve[2]))
        return super().route()

    def forward(self) -> tuple[int, bytes]:
        """Asks the storage, as whom the client asks: URLs in its answers lead here."""
        if self.headers.get("Authorization") != "Bearer xet" and self.raw_path.startswith(
            ("/v1/reco", "/v1/sha", "/v2")
        ):
            raise Refused(401, "", "no token of the storage")
        passed = {n: v for n, v in self.headers.items() if n.lower() not in ("connection", "transfer-encoding")}
        status, headers, body = self.hub.storage.ask(self.command, self.path, self.body, passed)
        kept = ("content-type", "content-range", "content-length" if self.command == "HEAD" else "")
        self.headers_out |= {name: value for name, value in headers.items() if name in kept}
        if status < 300 and self.command == "POST" and self.raw_path.endswith("/shards"):
            self.hub.learn(self.body)
        return status, body

    def token(self, kind: str, name: str, right: str) -> tuple[int, bytes]:
        if kind == "datasets":
            (self.writable if right == "write" else self.readable)(name)
        else:
            (self.may_change if right == "write" else self.may_read)(name)
        until = int(time.time()) + 900
        said = {"X-Xet-Cas-Url": self.hub.url, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(until)}
        self.headers_out |= said
        return self.json({"casUrl": self.hub.url, "accessToken": "xet", "exp": until})

    # Buckets.

    def may_read(self, name: str) -> Bucket:
        bucket = self.hub.buckets.get(name)
        if bucket is None or (bucket.private and not self.may_write(name)):
            raise Refused(401 if self.user is None else 404, "RepoNotFound", "Repository not found")
        return bucket

    def may_change(self, name: str) -> Bucket:
        bucket = self.may_read(name)
        self.allow(name)
        return bucket

    def bucket(self, name: str, what: str, rest: str) -> tuple[int, bytes]:
        bucket = self.may_read(name)
        if what == "paths-info":
            asked = json.loads(self.body)["paths"]
            return self.json([bucket.files[path].info(path) for path in asked if path in bucket.files])
        if what == "tree":
            return self.page(listed(bucket.files, rest, self.query.get("recursive", "").lower() == "true"))
        if what == "batch":
            return self.batch_of(self.may_change(name))
        size = sum(found.size for found in bucket.files.values())
        made = {"id": name, "private": bucket.private, "createdAt": moment(0.0), "size": size}
        return self.json({**made, "totalFiles": len(bucket.files)})

    def page(self, found: list[dict[str, Any]]) -> tuple[int, bytes]:
        start = int(self.query.get("cursor", 0))
        if start + _PAGE < len(found):
            query = "&".join(f"{k}={v}" for k, v in {**self.query, "cursor": str(start + _PAGE)}.items())
            self.headers_out["Link"] = f'<{self.hub.url}{self.raw_path}?{query}>; rel="next"'
        return self.json(found[start : start + _PAGE])

    def batch_of(self, bucket: Bucket) -> tuple[int, bytes]:
        lines = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        with self.hub.lock:
            failed = [{"path": line["path"], "error": said} for line in lines if (said := self.change(bucket, line))]
        done = len(lines) - len(failed)
        return self.json(
            {"success": not failed, "processed": done, "failed": failed}, 422 if not done and failed else 200
        )

    def change(self, bucket: Bucket, line: dict[str, Any]) -> str:
        """What is wrong with an operation."""
        if line["type"] == "deleteFile":
            return "" if bucket.files.pop(line["path"], None) else "not found"
        try:
            size = len(self.hub.contents(line["xetHash"]))
        except KeyError:
            return "no such contents"
        uploaded = moment(time.time() + self.hub.clock)
        bucket.files[line["path"]] = Stored(line["xetHash"], size, moment(line["mtime"] / 1000), uploaded)
        return ""

    def stored(self, bucket: Bucket, path: str) -> tuple[int, bytes]:
        found = bucket.files.get(path)
        if found is None:
            raise Refused(404, "EntryNotFound", "Entry not found")
        route = f"{self.hub.url}/api/buckets/{bucket.name}/xet-read-token"
        self.headers_out |= {"ETag": f'"{found.xet_hash}"', "X-Linked-Size": str(found.size)}
        self.headers_out |= {"X-Xet-Hash": found.xet_hash, "X-Xet-Refresh-Route": route}
        return self._ranged(self.hub.contents(found.xet_hash))


def moment(seconds: float) -> str:
    """As the Hub writes a time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def listed(files: Mapping[str, Stored], prefix: str, recursive: bool) -> list[dict[str, Any]]:
    """Files whose path begins with `prefix`, as text; without `recursive`, one level below it, and its folders."""
    found: dict[str, dict[str, Any]] = {}
    depth = 1 + prefix.rstrip("/").count("/") + bool(prefix)
    for path, stored in sorted(files.items()):
        parts = path.split("/")
        if not path.startswith(prefix):
            continue
        if recursive or len(parts) <= depth:
            found[path] = stored.info(path)
        else:
            folder = "/".join(parts[:depth])
            found[folder] = {"type": "directory", "path": folder, "uploadedAt": stored.uploaded_at}
    return list(found.values())


@contextlib.contextmanager
def xet_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[XetHub]:
    """A loopback Hub with Xet, which this process' clients take for theirs, as processes that it starts do."""
    found = xet_server.program()
    if found is None:
        pytest.skip(f"{xet_server.PROGRAM} {xet_server.version()} is not built: make xet-server")
    with XetHub(XetServer(found)) as made:
        for name, value in {"HF_ENDPOINT": made.url, "HF_TOKEN": "hf_write", "HF_HOME": str(folder / "hf")}.items():
            monkeypatch.setenv(name, value)
        # The client has read its endpoint at import, for all that is asked of it without one.
        monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": made.url})
        monkeypatch.setattr(huggingface_hub.constants, "HF_XET_CACHE", str(folder / "hf/xet"))
        monkeypatch.setenv("HF_XET_CACHE", str(folder / "hf/xet"))
        forget_chunks()
        yield made
    forget_chunks()


def forget_chunks() -> None:
    """The next upload of this process begins as that of a new one: what it has cached is read from its folder."""
    abort_xet_session()
    fsspec.get_filesystem_class("hf").clear_instance_cache()
    Buckets.clear_instance_cache()
