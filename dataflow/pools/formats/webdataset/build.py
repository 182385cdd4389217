"""Rows of any pool as samples: `{key}.jpg` (or what the bytes are), `{key}.txt`, and `{key}.json` with the rest."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from poolsieve.dataflow import progress
from poolsieve.dataflow.pools.casts import is_bytes
from poolsieve.dataflow.pools.formats.outgoing import (
    Build,
    Rows,
    Sink,
    Source,
    Written,
    copy_keys,
    distinct,
    json_able,
    safe_key,
)
from poolsieve.dataflow.pools.formats.webdataset.members import end_archive, member, score_member
from poolsieve.dataflow.pools.json_text import dump, plain
from poolsieve.dataflow.pools.json_types import from_arrow
from poolsieve.scoring_models.base.arrow import texts
from poolsieve.scoring_models.base.errors import PlanError

_IMAGE, _TEXT = "image", "text"
_OTHER = "json "
"""Prefix of the columns that go into the JSON member, so that none is taken for the image or the text."""

_MAGIC = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF8", "gif"))


class WebDatasetBuilder:
    """Makes a sample of each row that has an image or a text; the key is the uid.

    Every other field that JSON can hold goes into `{key}.json`, beside the uid. Other bytes stay behind.
    """

    def plan(self, source: Source, scores: Mapping[str, pa.DataType]) -> Build:
        """The image, the text and all fields that JSON can hold; see `Builder.plan`."""
        main = {name: found for name, found in ((_IMAGE, source.image), (_TEXT, source.text)) if found is not None}
        if _IMAGE in main and not is_bytes(source.types[_IMAGE]):
            del main[_IMAGE]  # a path or a URL: it goes into the JSON member like any other text
        if not main:
            raise PlanError(
                "samples need an image or a text, and the pool declares neither role: declare image= or text= in the "
                "recipe's pool, or export in a format of rows (parquet, jsonl)"
            )
        used = {found.split(".")[0] for found in main.values()} | set(main.values())
        others = {name: kind for name, kind in source.without_bytes().items() if name not in used}
        left = tuple(name for name, kind in source.fields.items() if name not in used and not json_able(kind))
        return Build(
            columns={**main, **{_OTHER + name: name for name in others}},
            types={**{name: source.types[name] for name in main}, **{_OTHER + n: kind for n, kind in others.items()}},
            scores=scores,
            left_out=left,
        )

    def build(self, made: Build, rows: Iterable[Rows], sink: Sink) -> Written:
        """One tar."""
        done = Written()
        previous: str | None = None
        for some in rows:
            samples = zip(texts(some.uid), some.copies.tolist(), _members(some, made), _scores(some, made), strict=True)
            for uid, copies, members, scores in samples:
                keys = copy_keys(uid, copies) if copies > 1 else [distinct(safe_key(uid), previous)]
                for key in keys:
                    sink.write(b"".join(member(f"{key}.{extension}", data) for extension, data in members))
                    if scores is not None:
                        sink.write(score_member(key, uid, scores))
                previous = keys[-1]
                done.rows += copies
            progress.add("export", int(some.copies.sum()))
        end_archive(sink)
        return done


def _members(some: Rows, made: Build) -> Iterator[list[tuple[str, bytes]]]:
    """(extension, data) of each row's members."""
    columns = {name: _values(some.values.column(name), kind) for name, kind in made.types.items()}
    images, texts = (columns.pop(name, itertools.repeat(None)) for name in (_IMAGE, _TEXT))
    names = [name.removeprefix(_OTHER) for name in columns]
    others = zip(*columns.values(), strict=True) if columns else itertools.repeat(())
    for uid, image, text, values in zip(some.uid.to_pylist(), images, texts, others, strict=False):
        found = [] if image is None else [(extension_of(image), image)]
        if text is not None:
            found.append(("txt", str(text).encode()))
        row = {name: plain(value) for name, value in zip(names, values, strict=True)}
        yield [*found, ("json", dump({**row, "uid": uid}))]


def _values(column: pa.Array, kind: pa.DataType) -> Iterable[Any]:
    """Python's values of a column; bytes one by one, since a batch of images is large."""
    change = from_arrow(kind)
    if change is not None:
        return [change(value) for value in column.to_pylist()]
    return (value.as_py() for value in column) if is_bytes(kind) else column.to_pylist()


def _scores(some: Rows, made: Build) -> Iterable[dict[str, Any] | None]:
    """Each row's scores; None where none go along."""
    return some.scores.to_pylist() if made.scores else [None] * len(some.copies)


def extension_of(image: bytes) -> str:
    """The usual extension of an image's format, from its first bytes; `bin` for what none of them begins with."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "webp"
    return next((extension for magic, extension in _MAGIC if image.startswith(magic)), "bin")
