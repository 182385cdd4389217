"""The schema that `datasets` finds in files that have none of their own: JSON lines, and samples in tars.

Its loaders look at the beginning of the first file (10 MB of lines, five samples). What they find there is put on the
card, so that the Hub and readers know the columns without a download; whoever loads the files gets the same either way.
"""

from __future__ import annotations

import tempfile
from typing import Any

import pyarrow as pa

from poolsieve.dataflow.publish.upload import local

_LOADERS = {"jsonl": "json", "webdataset": "webdataset"}
"""Format -> loader of `datasets`."""


def inferred_schema(url: str, format: str) -> pa.Schema | None:
    """What `datasets` reads a file as.

    Args:
        url: of the first file of a table.
        format: key of `FORMATS`.

    Returns:
        The columns, with `datasets`' own note of what they are (images, structs) in the metadata; None for a format
        that it has no loader for, and for a file that the loader can't read, or whose types a card can't say.
    """
    loader = _LOADERS.get(format)
    if loader is None:
        return None
    with local(url) as path, tempfile.TemporaryDirectory() as cache:
        try:
            found = _features(loader, path, cache)
        except Exception:  # noqa: BLE001  (whatever a loader raises: without features the card is true as well)
            return None
    return found if found is None else found.arrow_schema


def _features(loader: str, path: str, cache: str) -> Any:
    """`Features`; None where a card's YAML does not give the same again."""
    from datasets import Features
    from datasets.packaged_modules.json.json import Json
    from datasets.packaged_modules.webdataset.webdataset import WebDataset

    builder = {"json": Json, "webdataset": WebDataset}[loader](data_files={"train": [path]}, cache_dir=cache)
    found = builder.as_streaming_dataset("train").features
    return found if found and Features._from_yaml_list(found._to_yaml_list()) == found else None
