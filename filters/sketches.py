"""Sketches: a few bytes of a row's own, by which its duplicates are found.

Sketches are scores, of the row alone and stored once, so that another threshold, other bands or a pool that grows need
no text again. They stand in `scores/`, and in no ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash

from poolsieve.filters.duplicates.pictures import BYTES, picture_hashes
from poolsieve.filters.duplicates.shingles import Texts
from poolsieve.filters.duplicates.sketch import BINS, sketches
from poolsieve.scoring_models.base.errors import PlanError, RowError
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig, TextScorer

HASH_BYTES = 16
"""Of xxh3-128: of 10^10 rows, a pair of different ones has the same hash once in 10^18 pools."""


@dataclass(frozen=True, eq=False)
class ExactHash(ScorerConfig):
    """A hash of a text or of bytes, 16 of them: xxh3-128 (xxhash.com), big-endian. Null for null.

    Args:
        role: the role to read, of text or bytes.
        normalised: of the text in lower case with one blank for each run of blanks, and none at its ends.
        version: see `Scorer`.
    """

    role: str = "text"
    normalised: bool = False
    version: int = 1

    packages = ("xxhash",)

    @property
    def reads(self) -> tuple[str, ...]:
        """The role."""
        return (self.role,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The hash, fixed_size_binary[16]."""
        return {"": pa.binary(HASH_BYTES)}

    @property
    def resources(self) -> Resources:
        """A Python call for each row."""
        return Resources(holds_gil=True)

    def check_role(self, where: str, role: str, kind: pa.DataType) -> None:
        """Refuses what is neither text nor bytes.

        Raises:
            PlanError: saying what it is.
        """
        types = pa.types
        if types.is_struct(kind) or types.is_nested(kind) or (types.is_primitive(kind) and not types.is_null(kind)):
            raise PlanError(f"{where} reads {role!r}, which is {kind}: name a column of text or bytes")
        if self.normalised and _is_bytes(kind):
            raise PlanError(f"{where}: normalised=True is for text, and {role!r} is {kind}: leave it out")

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The hash of each value."""
        values = batch.column(self.role)
        made = [None if value is None else self._hash(value) for value in values.to_pylist()]
        return Scored({"": pa.array(made, pa.binary(HASH_BYTES))})

    def _hash(self, value: str | bytes) -> bytes:
        if isinstance(value, str):
            value = (" ".join(value.lower().split()) if self.normalised else value).encode("utf-8", "surrogatepass")
        return xxhash.xxh3_128_digest(value)


def _is_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    views = types.is_binary_view(kind)
    return bool(views or types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


@dataclass(frozen=True, eq=False)
class TextSketch(TextScorer):
    """256 bytes of a text whose agreement with another's estimates how many shingles of five words they share.

    One byte of each of 256 one-permutation minima (`filters/duplicates/sketch.py`); words are runs of letters, digits
    and marks in lower case, with 0 for each digit, and single characters of scripts without blanks. Null for null, and
    for texts of fewer than five words: nothing is near to them but their equals, which `ExactHash` finds.
    """

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """The sketch, fixed_size_binary[256]."""
        return {"": pa.binary(BINS)}

    @property
    def resources(self) -> Resources:
        """NumPy, which lets Python's lock go."""
        return Resources()

    def score(self, batch: pa.RecordBatch) -> Scored:
        """The sketch of each text."""
        values = batch.column(self.text)
        if not len(values):
            return Scored({"": pa.array([], pa.binary(BINS))})
        made, some = sketches(Texts.of(values))
        null = ~some | np.asarray(values.is_null())
        valid = pa.py_buffer(np.packbits(~null, bitorder="little").tobytes())
        return Scored({"": pa.Array.from_buffers(pa.binary(BINS), len(values), [valid, pa.py_buffer(made.tobytes())])})


@dataclass(frozen=True, eq=False)
class ImageHash(ScorerConfig):
    """dHash and pHash of an image, 8 bytes each; a JPEG is decoded at a small scale (`filters/duplicates/pictures.py`).

    Null for a null image, and for one of a single colour: all of these would be near to one another. As everywhere, the
    EXIF rotation is ignored.
    """

    image: str = "image"
    version: int = 1

    packages = ("pillow",)

    @property
    def reads(self) -> tuple[str, ...]:
        """The image role."""
        return (self.image,)

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """`dhash` and `phash`, fixed_size_binary[8]."""
        return {"dhash": pa.binary(BYTES), "phash": pa.binary(BYTES)}

    @property
    def resources(self) -> Resources:
        """Decoding, which lets Python's lock go."""
        return Resources()

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Hashes of a batch; an image that can't be decoded is an error."""
        made: list[tuple[bytes | None, bytes | None]] = []
        errors: dict[int, RowError] = {}
        for i, value in enumerate(batch.column(self.image)):
            found = picture_hashes(value.as_py()) if value.is_valid else None
            if isinstance(found, RowError):
                errors[i], found = found, None
            made.append(found or (None, None))
        dhash, phash = (pa.array([pair[k] for pair in made], pa.binary(BYTES)) for k in (0, 1))
        return Scored({"dhash": dhash, "phash": phash}, errors)
