"""The last good bytes of a compressed file that is damaged: rows that stand before the damage are rows.

Arrow unpacks about a megabyte at once, and gives nothing of it when the damage is anywhere within.
"""

from __future__ import annotations

import zlib
from typing import Any

import zstandard

_PIECE = 4096
"""Packed bytes at a time. zstd may make 32,000 times as many of them."""


def good_bytes(source: Any, compression: str, position: int) -> bytes:
    """The unpacked bytes from `position` on, up to the damage; none where an unpacker stops before that.

    Args:
        source: the packed file, open for reading.
        compression: `gzip` or `zstd`.
        position: unpacked bytes that are known already.
    """
    good = _pieces_before_damage(source, compression)
    found, seen, unpacker = bytearray(), 0, _Unpacker(compression)
    source.seek(0)
    try:
        # An unpacker that fails gives nothing of what it was fed with, so the piece that fails is fed byte by byte.
        for number in range(good + _PIECE):
            piece = source.read(_PIECE if number < good else 1)
            if not piece:
                break
            data = unpacker.unpack(piece)
            found += data[max(0, position - seen) :]
            seen += len(data)
    except (zlib.error, zstandard.ZstdError):
        pass
    return bytes(found)


def _pieces_before_damage(source: Any, compression: str) -> int:
    unpacker, good = _Unpacker(compression), 0
    source.seek(0)
    try:
        while piece := source.read(_PIECE):
            unpacker.unpack(piece)
            good += 1
    except (zlib.error, zstandard.ZstdError):
        pass
    return good


class _Unpacker:
    """Unpacks members or frames that follow one another."""

    def __init__(self, compression: str) -> None:
        self._compression = compression
        self._now = self._next()

    def _next(self) -> Any:
        if self._compression == "gzip":
            return zlib.decompressobj(wbits=31)
        return zstandard.ZstdDecompressor().decompressobj()

    def unpack(self, data: bytes) -> bytes:
        """What these bytes add.

        Raises:
            zlib.error, zstandard.ZstdError: at damage.
        """
        made = []
        while data:
            if self._now.eof:
                self._now = self._next()
            made.append(self._now.decompress(data))
            data = self._now.unused_data if self._now.eof else b""
        return b"".join(made)
