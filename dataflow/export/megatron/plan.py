"""An export to Megatron-LM's files after checking: where the ids come from, and of what type they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from poolsieve.dataflow import fs
from poolsieve.dataflow.export.columns import edited_columns
from poolsieve.dataflow.export.edited import EditedColumns
from poolsieve.dataflow.export.index import MEGATRON, About, IdsRecord
from poolsieve.dataflow.export.megatron.documents import TEXT, MegatronPlan
from poolsieve.dataflow.export.megatron.layout import IDS, INDEX, stored_as, type_of
from poolsieve.dataflow.export.megatron.size import in_ids
from poolsieve.dataflow.export.megatron.write import write_pair
from poolsieve.dataflow.export.parts import PartName, ShardExtract
from poolsieve.dataflow.export.plan import (
    Prepared,
    Scene,
    Wishes,
    WritePart,
    about_of,
    check_selection,
    choice_of,
    is_same_place,
    scene,
)
from poolsieve.dataflow.export.target import Target
from poolsieve.dataflow.pools.casts import is_text
from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.formats.outgoing import Added, Build
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.manifest import versions
from poolsieve.dataflow.tokenizers.record import TOKENIZER_FILE
from poolsieve.dataflow.tokenizers.source import Tokenizer, find_tokenizer, located
from poolsieve.scoring_models.base.arrow import is_id_list
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.packages import package_versions

_LAYOUT = 2
"""Raised when the same export would give other files, so that none goes on with what an older version began."""

_TARGET_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class MegatronPrepared(Prepared):
    """See `Prepared`; `tokenizer` makes ids of texts, and is None where rows are ids already."""

    tokenizer: Tokenizer | None

    @property
    def part_name(self) -> PartName:
        """`data/train-00000-of-00004.bin`."""
        return lambda i, n, folder, path: f"{folder}/train-{i:05d}-of-{n:05d}{IDS}"

    @property
    def never_empty(self) -> bool:
        """No: Megatron-LM maps the files into memory, which an empty one can't be."""
        return False

    @property
    def write(self) -> WritePart:
        """Writes both files of a pair."""
        return write_pair

    def sized(self, inputs: Sequence[ShardExtract]) -> Sequence[ShardExtract]:
        """By their ids: of texts about, of chunks exactly."""
        assert isinstance(self.plan, MegatronPlan)
        return inputs if self.tokenizer is None else in_ids(self.plan, self.tokenizer, inputs)

    def beside(self, name: str) -> tuple[str, ...]:
        """The index of a `.bin`."""
        return (name.removesuffix(IDS) + INDEX,)

    def side_files(self, rows: Mapping[str, int]) -> Mapping[str, bytes]:
        """The tokenizer, above the data's folder."""
        return {} if self.tokenizer is None else {TOKENIZER_FILE: self.tokenizer.text.encode()}

    def begin(self) -> None:
        """Puts the tokenizer where workers find it."""
        for name, data in self.side_files({}).items():
            fs.write_bytes(self.target.path(name), data)

    def versions(self) -> dict[str, str]:
        """With the libraries that make ids of texts."""
        return versions() if self.tokenizer is None else package_versions([_Needs])


class _Needs:
    packages = ("tokenizers", "transformers")


def prepare_megatron(out: str, wishes: Wishes, workers: int) -> MegatronPrepared:
    """Checks an export to Megatron-LM's files.

    Raises:
        PlanError: for anything that can't work.
    """
    found = scene(out, wishes)
    check_selection(wishes, found.run.manifest)
    if wishes.scores:
        raise PlanError(f"--format {MEGATRON} has no place for scores: it holds ids alone")
    chunks = _chunks(found)
    plan, tokenizer = _of_texts(found, wishes) if chunks is None else (_of_chunks(found, wishes, chunks), None)
    size = wishes.target_bytes or _TARGET_BYTES
    about = msgspec.structs.replace(about_of(plan, found.run.manifest, size), ids=plan.ids)
    return MegatronPrepared(
        plan=plan,
        target=Target(found.url, _id(about, plan.ids)),
        lines=found.run.shards,
        target_bytes=size,
        about=about,
        tokenizer=tokenizer,
    )


def _id(about: About, ids: IdsRecord) -> str:
    """By what makes the files what they are: a tokenizer that goes by another name now is the same."""
    return digest([_LAYOUT, {**about.to_json(), "ids": ids.settings}], 8)


def _chunks(found: Scene) -> pa.FixedSizeListType | None:
    """The type of a row, where rows are chunks of ids; None for others."""
    role = found.place.own.row_role
    kind = found.place.role_types(_shards(found))[role] if role else None
    return kind if isinstance(kind, pa.FixedSizeListType) and is_id_list(kind) else None


def _shards(found: Scene) -> list[Shard]:
    return [line.shard for line in found.run.shards]


def _of_chunks(found: Scene, wishes: Wishes, kind: pa.FixedSizeListType) -> MegatronPlan:
    """Of a pool of token files, whose chunks leave as they are."""
    given = {
        "--tokenizer": wishes.tokenizer,
        "--revision": wishes.revision,
        "--eos": wishes.eos,
        "--text": wishes.text,
        "--column": wishes.columns,
    }
    name = next((name for name, value in given.items() if value), None)
    if name is not None:
        raise PlanError(f"{name} is for texts, and this pool's rows are ids already: leave it out")
    ids = IdsRecord(dtype=stored_as(str(kind.value_type)), text=None, tokenizer=None)
    return dataclasses.replace(_plan(found, wishes, ids, found.place), chunk=kind)


def _of_texts(found: Scene, wishes: Wishes) -> tuple[MegatronPlan, Tokenizer]:
    """Of any other pool: its texts, or what the recipe's edits made of them."""
    if wishes.tokenizer is None:
        raise PlanError(
            f"--format {MEGATRON} is made of ids: add --tokenizer T, a repository of the Hub or a folder, which makes "
            "them of the pool's texts"
        )
    shards = _shards(found)
    edits = _edits(found, wishes)
    place = found.place if edits is not None else _with_text(found.place, shards, wishes.text)
    types = {} if edits is not None else _text_type(place, shards)
    tokenizer = find_tokenizer(located(wishes.tokenizer), wishes.revision, wishes.eos)
    ids = IdsRecord(
        dtype=type_of(tokenizer.about.name, tokenizer.about.vocabulary),
        text=None if edits is not None else place.sources((TEXT,))[TEXT],
        tokenizer=tokenizer.about,
    )
    return dataclasses.replace(_plan(found, wishes, ids, place), edits=edits, types=types), tokenizer


def _plan(found: Scene, wishes: Wishes, ids: IdsRecord, place: PoolFiles) -> MegatronPlan:
    return MegatronPlan(
        choice=choice_of(found.run, wishes, Added(), None),
        files=place,
        format=MEGATRON,
        added=Added(edited=tuple(wishes.columns)),
        build=Build(columns={}, types={}),
        same_place=is_same_place(found.run, found.place),
        ids=ids,
    )


def _with_text(place: PoolFiles, shards: Sequence[Shard], asked: str | None) -> PoolFiles:
    """The pool with a role `text`: as it was asked for, the pool's own, or a column of that name.

    Raises:
        PlanError: if there is none.
    """
    source = asked or place.roles.get(TEXT)
    if source is None and place.reader.has_columns and TEXT in place.columns(shards):
        source = TEXT
    if source is None:
        raise PlanError(
            f"the pool has no role {TEXT!r}, and --format {MEGATRON} is made of texts: name where they are with --text"
        )
    return dataclasses.replace(place, roles={**place.roles, TEXT: source})


def _text_type(place: PoolFiles, shards: Sequence[Shard]) -> dict[str, pa.DataType]:
    alone = dataclasses.replace(place, roles={TEXT: place.roles[TEXT]})
    kind = alone.role_types(shards)[TEXT]
    if not is_text(kind):
        source = place.sources((TEXT,))[TEXT]
        raise PlanError(f"{source} of the pool holds {kind}, and tokens are made of text: name another with --text")
    return {TEXT: kind}


def _edits(found: Scene, wishes: Wishes) -> EditedColumns | None:
    if wishes.columns and wishes.text is not None:
        raise PlanError("--text and --column each say which texts leave: give one of them")
    other = next((name for name in wishes.columns if name != TEXT), None)
    if other is not None:
        raise PlanError(f"--format {MEGATRON} has one place for texts, not {other!r}: write --column {TEXT}=ROLE")
    return edited_columns(found.run, found.place, None, wishes.columns, wishes.recipe, trust=wishes.trust_recipe)
