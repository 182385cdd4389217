"""Formats of pools and exports, each one thing: a reader, a loss-free copy and a builder, registered here once.

A format knows nothing of the others; what they share stands in `base` (reading), `outgoing` (writing) and `format`.
Every pair of formats works, N readers and N builders:

| from | to Parquet | to tars | to JSON lines |
|---|---|---|---|
| Parquet | schema, types and metadata as they are | image, text, and the rest as JSON | every column without bytes |
| tars | `__key__`, `uid`, a column a member, images as `Image()` | byte for byte | texts, and JSON members as objects |
| JSON lines | one schema from all rows that leave | text, and the rest as JSON | byte for byte |
| token files | `uid`, and `tokens` as a list | nothing: a sample needs a text or an image | both |

Token files leave as token files byte for byte; none are built of other rows (`poolsieve tokenize` makes them).

Files are `data/train-00000-of-00004.<ending>` in all formats, so that an export can be read as it stands:

- `datasets.load_dataset(FOLDER)`: all formats but token files, which say nothing of what they hold.
- `numpy.memmap(path, dtype="uint16", mode="r")`, and trainers that read OLMo's or Megatron's corpora: token files.
- `pyarrow.dataset.dataset(FOLDER)`: Parquet. Arrow's JSON datasets do not unpack zstd, so JSON lines are read as
  `pa.concat_tables(pyarrow.json.read_json(path) for path in sorted(glob(f"{FOLDER}/data/*")))`; it has no tars.
- duckdb: `FROM 'FOLDER/data/*.parquet'`, `FROM 'FOLDER/data/*.jsonl.zst'`; it has no tars.
- polars: `scan_parquet(f"{FOLDER}/data")`, `scan_ndjson(f"{FOLDER}/data")`; it refuses folders in which names end in
  more than one way, hidden ones too, so that FOLDER itself (which has `_export.json`) needs a glob; it has no tars.
- `webdataset.WebDataset(f"{FOLDER}/data/train-{{00000..00003}}-of-00004.tar")`, with `sizes.json` beside them.
"""

from __future__ import annotations

from collections.abc import Mapping

from poolsieve.dataflow.pools.formats.format import Format
from poolsieve.dataflow.pools.formats.jsonl.build import JsonlBuilder
from poolsieve.dataflow.pools.formats.jsonl.copy import JsonlCopier
from poolsieve.dataflow.pools.formats.jsonl.read import JsonlReader
from poolsieve.dataflow.pools.formats.parquet.build import ParquetBuilder
from poolsieve.dataflow.pools.formats.parquet.copy import ParquetCopier
from poolsieve.dataflow.pools.formats.parquet.read import ParquetReader
from poolsieve.dataflow.pools.formats.tokens.copy import ENDINGS, TokensCopier
from poolsieve.dataflow.pools.formats.tokens.layout import ROLE, instances
from poolsieve.dataflow.pools.formats.tokens.read import TokensReader
from poolsieve.dataflow.pools.formats.webdataset.build import WebDatasetBuilder
from poolsieve.dataflow.pools.formats.webdataset.copy import WebDatasetCopier
from poolsieve.dataflow.pools.formats.webdataset.members import sizes
from poolsieve.dataflow.pools.formats.webdataset.read import WebDatasetReader

FORMATS: Mapping[str, Format] = {
    made.name: made
    for made in (
        Format(
            name="parquet",
            title="Parquet",
            endings=(".parquet",),
            ending=".parquet",
            target_bytes=500_000_000,  # `MAX_SHARD_SIZE` of `datasets`
            reader=ParquetReader(),
            copier=ParquetCopier(),
            builder=ParquetBuilder(),
            never_empty=True,
            scores_are_columns=True,
        ),
        Format(
            name="webdataset",
            title="tars",
            endings=(".tar",),
            ending=".tar",
            target_bytes=1 << 30,  # what the Hub's page on WebDataset has
            reader=WebDatasetReader(),
            copier=WebDatasetCopier(),
            builder=WebDatasetBuilder(),
            text="txt",
            about_files=sizes,
        ),
        Format(
            name="jsonl",
            title="JSON lines",
            endings=(
                *(".jsonl", ".json", ".ndjson"),
                *(".jsonl.gz", ".json.gz", ".ndjson.gz"),
                *(".jsonl.zst", ".json.zst", ".ndjson.zst"),
            ),
            ending=".jsonl.zst",
            target_bytes=1 << 30,  # before compression
            reader=JsonlReader(),
            copier=JsonlCopier(),
            builder=JsonlBuilder(),
        ),
        Format(
            name="tokens",
            title="token files",
            endings=ENDINGS,
            ending=ENDINGS[0],
            target_bytes=1 << 30,
            reader=TokensReader(),
            copier=TokensCopier(),
            not_built=(
                "token files are made of documents by a tokenizer, not of the rows of an export: run `poolsieve "
                "tokenize POOL --tokenizer T --length 512 --to DIR` and filter Pool.tokens('DIR/*.npy'), or export as "
                "parquet or jsonl"
            ),
            text="",
            row_role=ROLE,
            keeps_ending=True,
            for_datasets=False,
            instances=instances,
        ),
    )
}
"""Name -> format: kinds of pool, and what an export may be written as."""
