"""The keys of a card's front matter that follow from the data, as `datasets` and the Hub read them.

`configs` and `dataset_info` are what `push_to_hub` of `datasets` 5 writes (`utils/metadata.py`, `info.py`); the others
are those of the Hub's page on dataset cards (`datasetcard.md` of huggingface/hub-docs).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from poolsieve.dataflow.publish.contents import SPLIT, Subject, Table
from poolsieve.dataflow.store.summary import Facts

if TYPE_CHECKING:
    from datasets import DatasetInfo, Features

OURS = ("size_categories", "source_datasets", "dataset_info", "configs")
"""Keys that say what is published, whatever they said before; tags stand beside those of the user."""

TAGS = ("poolsieve", "data-filtering", "curated-subset")
"""Of every dataset that poolsieve publishes; the names of its methods follow."""

_SIZES = (
    "n<1K",
    "1K<n<10K",
    "10K<n<100K",
    "100K<n<1M",
    "1M<n<10M",
    "10M<n<100M",
    "100M<n<1B",
    "1B<n<10B",
    "10B<n<100B",
)
_MORE_SIZES = ("100B<n<1T", "n>1T")


def size_category(rows: int) -> str:
    """The Hub's name of a number of rows.

    >>> size_category(999), size_category(1000), size_category(10**13)
    ('n<1K', '1K<n<10K', 'n>1T')
    """
    for power, name in enumerate((*_SIZES, _MORE_SIZES[0]), start=3):
        if rows < 10**power:
            return name
    return _MORE_SIZES[1]


def methods(facts: Facts) -> tuple[str, ...]:
    """Names of the ready-made stages that the recipe has, as `datacomp` and `dfn`, in its order."""
    from poolsieve import filters
    from poolsieve.filters.dsl.ready import makers

    known = {name.partition(".")[0] for name in makers(filters)}
    named = (label.partition(".")[0] for label in _labels(facts))
    return tuple(dict.fromkeys(name for name in named if name in known))


def _labels(facts: Facts) -> Iterable[str]:
    for step in facts.steps:
        yield step.label
        yield from step.cuts


def card_values(subject: Subject) -> dict[str, Any]:
    """Key -> value, in the order in which a new card has them; keys that nothing is known of are left out."""
    return {
        **({"license": subject.license} if subject.license else {}),
        "size_categories": [size_category(subject.index.rows)],
        **({"source_datasets": list(dict.fromkeys(one.repo for one in subject.parents))} if subject.parents else {}),
        **(
            {"dataset_info": dataset_info(subject.tables), "configs": configs(subject.tables)} if subject.tables else {}
        ),
    }


def configs(tables: Iterable[Table]) -> list[dict[str, Any]]:
    """`configs`: which files `load_dataset` takes for a configuration."""
    return [{"config_name": table.name, "data_files": [{"split": SPLIT, "path": table.pattern}]} for table in tables]


def dataset_info(tables: Iterable[Table]) -> dict[str, Any] | list[dict[str, Any]]:
    """`dataset_info`: features, rows and bytes of each configuration; a list where there are several."""
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    tables = list(tables)
    order = {table.name: place for place, table in enumerate(tables)}
    data = DatasetCardData()
    DatasetInfosDict({table.name: _info(table) for table in tables}).to_dataset_card_data(data)
    found: dict[str, Any] | list[dict[str, Any]] = data["dataset_info"]
    # `datasets` sorts them by name; here the default stands first, as in `configs`.
    return sorted(found, key=lambda one: order[one["config_name"]]) if isinstance(found, list) else found


def _info(table: Table) -> DatasetInfo:
    from datasets import DatasetInfo
    from datasets.splits import SplitDict, SplitInfo

    # `datasets` ignores splits without `num_bytes`. Where nothing says how much memory rows take, files stand for it.
    nbytes = table.nbytes if table.memory is None else table.memory
    splits = SplitDict()
    splits.add(SplitInfo(name=SPLIT, num_bytes=nbytes, num_examples=table.rows))
    features = None if table.schema is None else features_of(table.schema)
    return DatasetInfo(features=features, splits=splits, download_size=table.nbytes, dataset_size=nbytes)


def features_of(schema: pa.Schema) -> Features | None:
    """What `datasets` reads files of a schema as; None where it can't, or where metadata in the files is damaged."""
    from datasets import Features

    if len(set(schema.names)) < len(schema.names):
        return None
    try:
        return Features.from_arrow_schema(schema)
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, RecursionError, pa.ArrowException):
        return None if schema.metadata is None else features_of(schema.remove_metadata())
