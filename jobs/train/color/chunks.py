"""Documents as one stream of token ids, an end token behind each, cut into contiguous chunks.

As CoLoR-Filter's unit is (arXiv 2406.10670; `olmo/data/memmap_dataset.py` of its code): nothing is reset where a
document ends. The stream goes over all files of a pool and only its own tail is dropped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.dataflow.store.shard_lines import pool_id
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.causal.encoding import encode_of

TEXT = "text"

PIECE = 1 << 20
"""Characters that are tokenised at a time: the library takes about 100 bytes for a token. Longer texts are cut."""

Array = np.ndarray[Any, np.dtype[Any]]


class Counted(msgspec.Struct, kw_only=True):
    """What a stream was made of.

    Attributes:
        documents: that are in it; `empty` and `unreadable` ones are not.
        tokens: ids, end tokens included; `chunks` are made of them.
        whole: whether all of the pool was read: reading ends when there are enough.
    """

    documents: int = 0
    empty: int = 0
    unreadable: int = 0
    tokens: int = 0
    chunks: int = 0
    whole: bool = True


@dataclass(frozen=True)
class Listed:
    """A pool whose files are known."""

    pool: Pool
    files: PoolFiles
    shards: Sequence[Shard]

    def about(self) -> JsonObject:
        """What the record says of the pool: how it is read, and the hash of its listing."""
        pool = self.pool.absolute().to_dict()
        return {**pool, "id": pool_id(self.shards, self.files.marks), "shards": len(self.shards)}


def listed(pool: Pool, what: str) -> Listed:
    """Lists a pool.

    Raises:
        PlanError: if it has no files, no role `text`, or one that is no text.
    """
    if TEXT not in pool.roles:
        raise PlanError(f"the {what} declares no role 'text'; add text=... to it")
    try:
        pool = pool.pinned()
        files = pool.located()
        shards = files.listing().shards
        kind = str(files.role_types(shards)[TEXT])
    except PlanError as error:
        raise PlanError(f"{what}: {error}") from error
    if kind != "string":
        raise PlanError(f"{what}: the role 'text' is {kind}, not text")
    return Listed(pool, files, shards)


def texts(pool: Listed, seed: int, counts: Counted) -> Iterator[str]:
    """The texts of a pool that are any, in an order of its shards that follows from `seed`.

    Where a part of the pool is enough, it comes from all over then.
    """
    types = pool.files.role_types(pool.shards)
    for shard in sorted(pool.shards, key=lambda one: _order(one, seed)):
        pool.files.check_unchanged(shard)
        for batch in pool.files.pool_batches(shard, (TEXT,), types):
            progress.check()
            yield from _texts(batch, counts)
        pool.files.check_unchanged(shard)  # one that was cut short meanwhile looks like one with fewer rows


def _order(shard: Shard, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\0{shard.name}".encode(), digest_size=16).digest()


def _texts(batch: Batch, counts: Counted) -> Iterator[str]:
    bad = {*batch.read_errors, *batch.role_errors.get(TEXT, {})}
    counts.unreadable += len(bad)
    for i, text in enumerate(batch.roles.column(TEXT).to_pylist()):
        if i in bad:
            continue
        if not text:
            counts.empty += 1
            continue
        yield text


def write_stream(pool: Listed, tokenizer: Any, path: Path, *, length: int, seed: int, most: int | None) -> Counted:
    """Writes the ids of a pool as a raw file, and beside it (`.json`, last) what it is made of. What is there stays.

    Args:
        pool: the documents.
        tokenizer: of transformers, with an end token.
        path: of the file; uint16 if all ids fit, else uint32, little-endian, a multiple of `length`.
        length: ids of a chunk.
        seed: of the order of shards.
        most: chunks that are enough; None for all that there are.

    Raises:
        PlanError: if there is not one chunk.
    """
    known = path.with_suffix(".json")
    if known.exists():
        return msgspec.convert(json.loads(known.read_bytes()), Counted)
    counts = Counted()
    wanted = None if most is None else most * length
    with fs.atomic_path(str(path)) as temporary, open(temporary, "wb") as file:
        for ids in _ids(texts(pool, seed, counts), tokenizer, counts):
            counts.tokens += len(ids)
            file.write(ids.tobytes())
            if wanted is not None and counts.tokens >= wanted:
                counts.whole = False
                break
        counts.chunks = counts.tokens // length if most is None else min(most, counts.tokens // length)
        file.truncate(counts.chunks * length * dtype_of(tokenizer).itemsize)
    if not counts.chunks:
        raise PlanError(
            f"{', '.join(pool.pool.urls)} has {counts.tokens:,} tokens in {counts.documents:,} documents, and a chunk "
            f"takes {length}: more text is needed, or a smaller --length"
        )
    fs.write_bytes(str(known), msgspec.json.encode(counts))
    return counts


def dtype_of(tokenizer: Any) -> np.dtype[Any]:
    """The type of a file's ids."""
    from poolsieve.jobs.train.color.tokenizer import words_of

    return np.dtype("<u2") if words_of(tokenizer) <= 1 << 16 else np.dtype("<u4")


def _ids(documents: Iterator[str], tokenizer: Any, counts: Counted) -> Iterator[Array]:
    """The ids of documents, some at a time, an end token behind each."""
    encode, kind, end = encoder(tokenizer), dtype_of(tokenizer), tokenizer.eos_token_id
    for some in _some(documents):
        counts.documents += len(some)
        pieces = [
            (text[at : at + PIECE], at + PIECE >= len(text)) for text in some for at in range(0, len(text), PIECE)
        ]
        parts: list[Array] = []
        for ids, (_, last) in zip(encode([piece for piece, _ in pieces]), pieces, strict=True):
            parts.append(np.asarray([*ids, end] if last else ids, dtype=kind))
        yield np.concatenate(parts)


def _some(documents: Iterator[str]) -> Iterator[list[str]]:
    """Documents of about `PIECE` characters together, or one longer document."""
    held: list[str] = []
    size = 0
    for text in documents:
        held.append(text)
        size += len(text)
        if size >= PIECE:
            yield held
            held, size = [], 0
    if held:
        yield held


def encoder(tokenizer: Any) -> Any:
    """`encode(texts) -> ids of each`, without special tokens, whatever a text spells."""
    plain = encode_of(tokenizer)
    return lambda some: plain([text.encode("utf-8", "replace").decode() for text in some])
