"""Rows of any pool as samples: `{key}.jpg` (or what the bytes are), `{key}.txt`, and `{key}.json` with the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
from poolsieve.dataflow.pools.json_types import from_arrow
from poolsieve.dataflow.pools.json_values import dump, plain
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
        opening = {name: change for name, kind in made.types.items() if (change := from_arrow(kind)) is not None}
        for some in rows:
            for i, (uid, copies) in enumerate(zip(texts(some.uid), some.copies.tolist(), strict=True)):
                parts = _members(some, made, i, uid, opening)
                keys = copy_keys(uid, copies) if copies > 1 else [distinct(safe_key(uid), previous)]
                for key in keys:
                    for extension, data in parts:
                        sink.write(member(f"{key}.{extension}", data))
                    if made.scores:
                        sink.write(score_member(key, uid, {n: some.scores.column(n)[i].as_py() for n in made.scores}))
                previous = keys[-1]
                done.rows += copies
            progress.add("export", int(some.copies.sum()))
        end_archive(sink)
        return done


def _members(
    some: Rows, made: Build, i: int, uid: str, opening: Mapping[str, Callable[[Any], Any]]
) -> list[tuple[str, bytes]]:
    """(extension, data) of one row's members."""
    values = {name: some.values.column(name)[i].as_py() for name in made.types}
    image, text = values.pop(_IMAGE, None), values.pop(_TEXT, None)
    found = []
    if image is not None:
        found.append((extension_of(image), image))
    if text is not None:
        found.append(("txt", str(text).encode()))
    opened = {name: opening[name](value) if name in opening else value for name, value in values.items()}
    other = {name.removeprefix(_OTHER): plain(value) for name, value in opened.items()}
    return [*found, ("json", dump({**other, "uid": uid}))]


def extension_of(image: bytes) -> str:
    """The usual extension of an image's format, from its first bytes; `bin` for what none of them begins with."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "webp"
    return next((extension for magic, extension in _MAGIC if image.startswith(magic)), "bin")
