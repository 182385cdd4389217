"""One pair of files: ids into the `.bin`, and where each sequence lies into the `.idx`. Both appear whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.export.index import FileRecord, InputRecord
from poolsieve.dataflow.export.megatron.documents import Left, MegatronPlan, documents
from poolsieve.dataflow.export.megatron.layout import IDS, INDEX, Ints, Sequences
from poolsieve.dataflow.export.parts import OutputFile
from poolsieve.dataflow.export.plan import ExportPlan
from poolsieve.dataflow.export.sink import Sink, sink
from poolsieve.dataflow.export.target import Target
from poolsieve.dataflow.pools.formats.outgoing import Added
from poolsieve.dataflow.tokenizers.encode import Tokens, encode, loaded
from poolsieve.dataflow.tokenizers.record import TOKENIZER_FILE, TokenizerRecord
from poolsieve.scoring_models.base.errors import PoolsieveError


def write_pair(part: OutputFile, plan: ExportPlan, target: Target) -> None:
    """Writes a `.bin` and its `.idx`, and then notes that they are whole.

    Raises:
        ShardChanged: if a pool file is not the one that was scored, before it is read or after; no file appears then.
    """
    progress.check()
    assert isinstance(plan, MegatronPlan)
    name, left, sequences = part.name.removesuffix(IDS) + INDEX, Left(), Sequences()
    with sink(target.path(part.name)) as file, sink(target.path(name)) as index:
        tokens = _fill(part, plan, target, file, sequences, left)
        sequences.write(index, plan.ids.dtype)
        # Rows of a file that was cut short meanwhile would count as unreadable, or be another file's.
        for item in part.inputs:
            plan.check(item.shard)
    inputs = tuple(InputRecord(**item.shard.to_dict(), rows=item.rows) for item in part.inputs)
    target.done(_record(name, index))
    target.done(
        _record(
            part.name,
            file,
            inputs=inputs,
            rows=len(sequences),
            unreadable=left.unreadable,
            blank=left.blank,
            tokens=tokens,
        )
    )


def _record(name: str, file: Sink, **more: Any) -> FileRecord:
    nothing = {"inputs": (), "rows": 0, "unreadable": 0, "renamed": 0, "empty": {}}
    return FileRecord(**{**nothing, "name": name, "bytes": file.tell(), "sha256": file.sha256, **more})


def _fill(part: OutputFile, plan: MegatronPlan, target: Target, file: Sink, sequences: Sequences, left: Left) -> int:
    """Writes the ids; their number."""
    if plan.ids.tokenizer is not None:
        return _texts(part, plan, target, plan.ids.tokenizer, file, sequences, left)
    assert plan.chunk is not None
    return _chunks(part, plan, plan.chunk, file, sequences, left)


def _chunks(
    part: OutputFile, plan: MegatronPlan, kind: pa.FixedSizeListType, file: Sink, sequences: Sequences, left: Left
) -> int:
    """Chunks of token files, as they are."""
    into = _Checked(file, np.dtype(str(kind.value_type)).newbyteorder("<"), part.name)
    done = plan.files.copied.copier.copy(plan.files, plan.outgoing(part), Added(), into)
    left.unreadable += done.unreadable
    sequences.add(np.full(done.rows, kind.list_size, np.int64))
    return done.rows * kind.list_size


@dataclass(frozen=True)
class _Checked:
    """A file whose ids must be below half of their type's range, where the format has no unsigned type that wide."""

    file: Sink
    dtype: np.dtype[Any]
    name: str

    def write(self, data: Any) -> int:
        """Takes whole ids."""
        if self.dtype.kind == "u" and self.dtype.itemsize >= 4:
            most = int(np.frombuffer(data, self.dtype).max(initial=0))
            if most > np.iinfo(f"i{self.dtype.itemsize}").max:
                raise PoolsieveError(
                    f"{self.name}: an id is {most:,}, and Megatron's files hold none above "
                    f"{np.iinfo(f'i{self.dtype.itemsize}').max:,}: is the pool's dtype {self.dtype.name}?"
                )
        return self.file.write(data)

    def tell(self) -> int:
        """Bytes taken so far."""
        return self.file.tell()


def _texts(
    part: OutputFile,
    plan: MegatronPlan,
    target: Target,
    made: TokenizerRecord,
    file: Sink,
    sequences: Sequences,
    left: Left,
) -> int:
    """Texts as ids, an end of text behind each."""
    tokenizer, tokens = loaded(target.path(TOKENIZER_FILE), made.sha256), 0
    for some in documents(plan, plan.outgoing(part), left):
        ids, sizes = encode(tokenizer, some.texts, made.eos_id, plan.ids.dtype)
        left.blank += int(some.copies[sizes == 0].sum())
        for data in _repeated(ids, sizes, some.copies):
            file.write(data)
        each = np.repeat(sizes, some.copies)
        sequences.add(each[each > 0])
        tokens += int(each.sum())
        progress.add("export", int((each > 0).sum()))
    return tokens


def _repeated(ids: Tokens, sizes: Ints, copies: Ints) -> list[bytes]:
    """The documents' bytes, each as often as it leaves."""
    if (copies == 1).all():
        return [ids.tobytes()]
    parts = np.split(ids, np.cumsum(sizes)[:-1])
    return [one.tobytes() * int(n) for one, n in zip(parts, copies, strict=True)]
