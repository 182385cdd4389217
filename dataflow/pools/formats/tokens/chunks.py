"""A token file that is open: its header, if it has one, and runs of its chunks."""

from __future__ import annotations

from poolsieve.dataflow.pools.formats.base import Location, ShardChanged
from poolsieve.dataflow.pools.formats.tokens.layout import MAGIC, Layout
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.scoring_models.base.errors import RowError


class Chunks:
    """The chunks of a file, by their positions in it. Files without bytes are not opened."""

    def __init__(self, files: Location, shard: Shard, layout: Layout, *, ahead: int = 4 << 20) -> None:
        self._url, self._shard, self._layout = files.url(shard), shard, layout
        self._file = files.open(shard, ahead=ahead) if shard.size else None

    def damage(self) -> RowError | None:
        """Why the file is none of raw ids; None if it may be one."""
        if self._file is None or self._shard.size < len(MAGIC):
            return None
        return self._layout.damage(self._shard, self.read(0, len(MAGIC)))

    def take(self, row: int, count: int) -> bytes:
        """`count` chunks from position `row` of the file on."""
        return self.read(row * self._layout.chunk_bytes, count * self._layout.chunk_bytes)

    def read(self, start: int, size: int) -> bytes:
        """A range of bytes.

        Raises:
            ShardChanged: if the file ends before it does.
        """
        if self._file is None:
            raise self._shorter()
        self._file.seek(start)
        parts, left = [], size
        while left:
            data = self._file.read(left)
            if not data:
                raise self._shorter()
            parts.append(data)
            left -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()

    def _shorter(self) -> ShardChanged:
        return ShardChanged(
            f"{self._url} has become shorter than the {self._shard.size:,} bytes that it was listed with. Run "
            "`poolsieve run` again to score the new contents (only changed files are read anew)"
        )
