"""Tars as WebDataset samples: one forward pass, members grouped by the library's rules, damage told apart.

Headers are parsed by `tarfile.TarInfo.fromtarfile`, in a loop of our own: `TarFile.next` ends in silence at a corrupt
header in the middle, as if the archive were over. Nothing is ever extracted; member names are only labels.

Zero blocks end an archive, with any number of them up to the file's end. Where something else follows (a page of
zeros within the archive, `cat a.tar b.tar`), readers of tars and WebDataset stop without a word. Here that is damage:
one line for the gap, and reading goes on at the next header whose checksum holds (as `tarfile`'s `ignore_zeros` does,
but with the line). A gap always parts two samples, so that a sample's bytes never have one inside. What such a search
finds within the data of a member whose own header is lost may be a header of that data, if it is a tar itself.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import IO, Any, cast

import numpy as np

from poolsieve.dataflow.pools.casts import too_large
from poolsieve.scoring_models.base.errors import PoolsieveError, RowError

MEMBER_BYTES = 256 << 20
"""A larger member without a text is not read; it costs its sample the roles that need it."""

_HEADER_BYTES = 1 << 20
"""A longer name or PAX record is taken for damage: its length alone could fill the memory."""

_SEARCH_BYTES = 1 << 20
"""Most bytes of one read where the next header is looked for."""

_NAME = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)
_META = re.compile(r"__[^/]*__($|/)")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(slots=True)
class Sample:
    """Adjacent members with one key.

    Attributes:
        key: the members' common name up to the first dot after the last slash.
        offset: where the first header of the first member starts (its PAX or long-name headers included).
        end: where the last member's padding ends. An archive that was cut right after a last byte may be shorter.
        members: the lower-case extensions, with the bytes or the error of those that were asked for, else None.
        error: what is wrong with the sample as a whole.
        damage: whether this is no sample but what can't be read: a gap of zeros, or all that is left of the file.
    """

    key: str
    offset: int
    end: int
    members: dict[str, bytes | RowError | None] = field(default_factory=dict)
    error: RowError | None = None
    damage: bool = False


class _Damage(Exception):
    """Why the archive can't be read from some position on."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.error = RowError(kind, message)


class _Headers:
    """What `fromtarfile` reads from. A header that claims to be huge is refused before it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.tell, self.seek, self._read = file.tell, file.seek, file.read

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _HEADER_BYTES:
            raise tarfile.HeaderError(f"a header of {size} bytes")
        return self._read(size)


def split_name(name: str) -> tuple[str, str] | None:
    """Key and lower-case extension of a member by WebDataset's rule; None for one that belongs to no sample.

    Skipped are names without a dot, WebDataset's own `__meta__` names, and what macOS adds to archives.
    """
    match = _NAME.fullmatch(name)
    if match is None or (name.startswith("__") and _META.match(name)):
        return None
    if "__MACOSX/" in name or ("._" in name and name.rpartition("/")[2].startswith("._")):
        return None
    return match.group(1), match.group(2).lower()


def samples(
    file: IO[bytes], wanted: Mapping[str, int | None], skip: Callable[[int], bool] | None = None
) -> Iterator[Sample]:
    """The samples of an archive; a `Sample` with `damage` for each gap, and a last one for what is lost at the end.

    A sample that the file's end cut in two is part of what is lost; what a gap cut in two is two samples. An archive
    without its closing zero blocks is whole.

    Args:
        file: open for reading, at its start.
        wanted: extensions whose data is read, with the most bytes of a document; None for data that is no text.
        skip: whether the data of the sample of this number (from 0) is not needed.
    """
    current: Sample | None = None
    number = -1
    try:
        for found in _members(file):
            if isinstance(found, RowError):
                if current is not None:
                    yield current
                yield _lost(found)
                current, number = None, number + 1
                continue
            info, end, whole = found
            key, extension = (split_name(info.name) if info.isreg() else None) or ("", None)
            if current is not None and extension is not None and current.key != key:
                yield current
                current = None
            if not whole:
                current = None if extension is not None else current
                raise _Damage("truncated", f"the file ends within the member {info.name[:200]!r}")
            if extension is None:
                continue
            if current is None:
                number += 1
                current = Sample(key, info.offset, end)
                needed = {} if skip is not None and skip(number) else wanted
            _add(current, extension, end, _data(file, info, needed[extension]) if extension in needed else None)
    except _Damage as damage:
        if current is not None:
            yield current
        yield _lost(damage.error)
        return
    if current is not None:
        yield current


def _lost(error: RowError) -> Sample:
    return Sample("", 0, 0, error=error, damage=True)


def _add(sample: Sample, extension: str, end: int, data: bytes | RowError | None) -> None:
    sample.end = end
    if extension in sample.members:
        sample.error = RowError("duplicate_member", f"sample {sample.key[:200]!r} has two members .{extension}")
    else:
        sample.members[extension] = data


def _data(file: IO[bytes], info: tarfile.TarInfo, document: int | None) -> bytes | RowError:
    if document is not None and info.size > document:
        return too_large(f"{info.name[:200]!r} has {info.size:,} bytes")
    if document is None and info.size > MEMBER_BYTES:
        return RowError("member_too_big", f"{info.name[:200]!r} has {info.size:,} bytes, above {MEMBER_BYTES:,}")
    if info.issparse():
        return RowError("sparse_member", f"{info.name[:200]!r} is stored with holes, which is not read")
    data = file.read(info.size)
    if len(data) != info.size:
        raise PoolsieveError(f"the archive changed while it was read, at {info.name[:200]!r}; start the run again")
    return data


def _members(file: IO[bytes]) -> Iterator[tuple[tarfile.TarInfo, int, bool] | RowError]:
    """Each member with the end of its padding and whether the file has all of its data; what is wrong with each gap.

    Raises:
        _Damage: where the archive can't be read any further.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    # What fromtarfile needs of a TarFile, without one that would read and collect members by itself.
    archive: Any = SimpleNamespace(
        fileobj=_Headers(file), encoding="utf-8", errors="surrogateescape", pax_headers={}, offset=0
    )
    position: int | None = 0
    while position is not None:
        if file.tell() != position:
            file.seek(position)
        info = _header(archive, position, size)
        if info is not None:
            nameless = info.isreg() and not info.name
            yield _nameless(info) if nameless else (info, archive.offset, info.offset_data + info.size <= size)
            position = archive.offset
            continue
        zeros, (position, lost) = position, _after_zeros(file, position)
        if lost:
            yield _gap(zeros, position)


def _after_zeros(file: IO[bytes], position: int) -> tuple[int | None, bool]:
    """Where the next header from `position` on starts, None for nowhere; and whether there is anything but zeros.

    Pieces begin small and double, so that a file with a gap behind every member is still read in linear time.
    """
    file.seek(position)
    lost, size = False, 4 * tarfile.BLOCKSIZE
    while piece := file.read(size):
        whole = piece + bytes(-len(piece) % tarfile.BLOCKSIZE)
        blocks = np.frombuffer(whole, np.uint8).reshape(-1, tarfile.BLOCKSIZE)
        lost = lost or bool(blocks.any())
        for i in np.flatnonzero(_numbered(blocks)).tolist():
            if _is_header(blocks[i].tobytes()):
                return position + i * tarfile.BLOCKSIZE, True
        position, size = position + len(piece), min(2 * size, _SEARCH_BYTES)
    return None, lost


def _numbered(blocks: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which blocks (n, 512) have an octal number where a header has its checksum: few others have."""
    field = blocks[:, 148:156]
    digits = (field >= ord("0")) & (field <= ord("7"))
    return np.asarray((digits | (field == 0) | (field == ord(" "))).all(axis=1) & digits.any(axis=1), dtype=bool)


def _is_header(block: bytes) -> bool:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size >= 0
    except (tarfile.HeaderError, ValueError):
        return False


def _nameless(info: tarfile.TarInfo) -> RowError:
    """A name of zeros, as a hole within a long name leaves it, belongs to no sample: not a word would be said of it."""
    return RowError("tar_header", f"the member at byte {info.offset:,} has no name")


def _gap(zeros: int, header: int | None) -> RowError:
    until = "no header after them" if header is None else f"the next header at byte {header:,}"
    return RowError("zero_blocks", f"zero blocks at byte {zeros:,} are not the archive's end: {until}")


def _header(archive: Any, position: int, size: int) -> tarfile.TarInfo | None:
    """The next member, or None at a zero block or the file's end; sets `archive.offset` to where this one ends."""
    try:
        info = tarfile.TarInfo.fromtarfile(cast(tarfile.TarFile, archive))
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
        return None
    except (tarfile.HeaderError, ValueError, OverflowError, RecursionError) as error:
        if position and isinstance(error, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            return None
        raise _diagnosis(archive.fileobj, position, size, error) from None
    # A size below zero, which a header can state, would lead backwards and round in a circle.
    if info.size < 0 or archive.offset < info.offset_data:
        raise _Damage("tar_header", f"a member at byte {position:,} states a size of {info.size}")
    return info


def _diagnosis(file: _Headers, position: int, size: int, error: Exception) -> _Damage:
    if size == 0:
        return _Damage("empty_file", "the file has no bytes")
    plain = type(error).__name__ in ("InvalidHeaderError", "TruncatedHeaderError")
    if position == 0 and plain:
        file.seek(0)
        packed = file.read(4).startswith((_GZIP, _ZSTD))
        return _Damage("not_tar", "the tar is compressed; unpack it first" if packed else f"no tar archive: {error}")
    if type(error).__name__ != "InvalidHeaderError" and file.tell() >= size:
        return _Damage("truncated", f"the file ends within the header at byte {position:,}")
    return _Damage("tar_header", f"corrupt header at byte {position:,}: {error}")
