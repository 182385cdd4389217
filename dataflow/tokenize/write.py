"""One shard of documents as a token file and the table beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from poolsieve.dataflow import progress
from poolsieve.dataflow.export.sink import Sink, sink
from poolsieve.dataflow.pools.casts import is_text
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.base import Ints, ShardChanged
from poolsieve.dataflow.pools.shards import Batch, Shard
from poolsieve.dataflow.tokenize.documents import DocumentTable, parts
from poolsieve.dataflow.tokenize.folder import TokensTarget
from poolsieve.dataflow.tokenize.index import About, Counts, ShardRecord, TokenFile, file_names
from poolsieve.dataflow.tokenizers.encode import encode, loaded, pieces
from poolsieve.dataflow.tokenizers.record import TOKENIZER_FILE
from poolsieve.scoring_models.base.arrow import texts
from poolsieve.scoring_models.base.errors import PlanError

TEXT = "text"
TOKENS, DOCUMENTS = "tokens", "documents"
"""Labels of the counters of progress."""


@dataclass(frozen=True, kw_only=True)
class TokensPlan:
    """What a worker needs to know: small and picklable.

    Attributes:
        files: the pool's, with its sources of text and uid.
        types: role -> type, as the pool has it.
        about: see `About`.
    """

    files: PoolFiles
    types: Mapping[str, pa.DataType]
    about: About

    def check(self, shard: Shard) -> None:
        """Compares a pool file with what the listing said.

        Raises:
            ShardChanged: if it differs or is gone.
        """
        try:
            self.files.check_unchanged(shard)
        except ShardChanged as error:
            raise ShardChanged(
                f"{self.files.url(shard)} has changed or is gone since the pool was listed, and nothing was written of "
                "it: run the same command again, which takes it as it is then"
            ) from error


def check_text(kind: pa.DataType, source: str) -> None:
    """Refuses a role that holds no text.

    Raises:
        PlanError: naming its source and type.
    """
    if not is_text(kind):
        raise PlanError(f"{source} of the pool holds {kind}, and tokens are made of text: name another with --text")


def write_shard(shard: Shard, plan: TokensPlan, target: TokensTarget) -> None:
    """Tokenises a shard, and then notes that its two files are whole.

    Raises:
        ShardChanged: if the shard is not the one that was listed, before it is read or after; no file appears then.
    """
    progress.check()
    plan.check(shard)
    name, table = file_names(shard)
    with sink(target.path(table)) as beside, sink(target.path(name)) as file:
        counts = _write(shard, plan, target, file, beside)
        # Rows of a file that was cut short meanwhile would count as unreadable, or be another file's.
        plan.check(shard)
    target.note(
        TokenFile(
            name=name,
            bytes=file.tell(),
            sha256=file.sha256,
            chunks=counts.tokens // plan.about.length,
            beside=table,
            beside_bytes=beside.tell(),
            beside_sha256=beside.sha256,
            shard=ShardRecord.of(shard),
            **{field: getattr(counts, field) for field in Counts.__struct_fields__},
        )
    )


def _write(shard: Shard, plan: TokensPlan, target: TokensTarget, file: Sink, beside: Sink) -> Counts:
    about = plan.about
    tokenizer = loaded(target.path(TOKENIZER_FILE), about.tokenizer.sha256)
    table, counts = DocumentTable(beside), Counts()
    for piece in _pieces(shard, plan):
        ids, sizes = encode(tokenizer, texts(piece.text), about.tokenizer.eos_id, about.dtype)
        file.write(ids.tobytes())
        start = counts.tokens + np.cumsum(sizes) - sizes
        some = sizes > 0
        uid = piece.uid.filter(pa.array(some))
        table.add(parts(uid, piece.row[some], start[some], sizes[some], about.length))
        counts += piece.counts(len(ids), int(some.sum()))
    table.close()
    return counts


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Some rows of a shard: those whose text is there, and how many there are in all.

    Attributes:
        text, uid: string (n,).
        row: int64 (n,), positions in the file.
        rows, unreadable: of all.
    """

    text: pa.Array
    uid: pa.Array
    row: Ints
    rows: int
    unreadable: int

    def counts(self, tokens: int, documents: int) -> Counts:
        """Those of this piece; notes them as progress."""
        progress.add(TOKENS, tokens)
        progress.add(DOCUMENTS, documents)
        empty = self.rows - self.unreadable - documents
        return Counts(rows=self.rows, documents=documents, empty=empty, unreadable=self.unreadable, tokens=tokens)


def _pieces(shard: Shard, plan: TokensPlan) -> Iterator[_Piece]:
    """The rows of a shard in order, some text at a time."""
    for batch in plan.files.pool_batches(shard, (TEXT,), plan.types):
        text = batch.roles.column(0)
        for first, end in pieces(text):
            progress.check()
            yield _piece(batch, text, first, end)


def _piece(batch: Batch, text: pa.Array, first: int, end: int) -> _Piece:
    # What a row has not at all is as good as null; it is no fault of the file's.
    failed = {row for row, error in batch.role_errors.get(TEXT, {}).items() if error.kind != "missing_column"}
    lost = sum(first <= row < end for row in failed.union(batch.read_errors))
    here = text.slice(first, end - first)
    there = pc.is_valid(here)
    return _Piece(
        text=here.filter(there),
        uid=batch.uid.slice(first, end - first).filter(there),
        row=batch.rows[first:end][there.to_numpy(zero_copy_only=False)],
        rows=end - first,
        unreadable=lost,
    )
