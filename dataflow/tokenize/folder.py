"""The folder of token files: who owns it, which files are whole, what another command may take the place of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from poolsieve.dataflow import fs
from poolsieve.dataflow.export.index import INDEX as EXPORT_INDEX
from poolsieve.dataflow.export.index import read_record
from poolsieve.dataflow.export.target import Target
from poolsieve.dataflow.pools.shards import Shard
from poolsieve.dataflow.store.summary import dumps
from poolsieve.dataflow.tokenize.index import (
    DOCUMENTS,
    ENDING,
    INDEX,
    About,
    ShardRecord,
    TokenFile,
    TokensIndex,
    file_names,
    read_tokens_index,
)
from poolsieve.dataflow.tokenizers.record import TOKENIZER_FILE
from poolsieve.scoring_models.base.errors import PlanError

_BEFORE = "before.json"
"""Among the notes: the index of what was whole before some shards were tokenised anew."""

_NO_NOTES = ("plan.json", _BEFORE)


@dataclass(frozen=True)
class TokensTarget(Target):
    """One command's claim to a folder of token files. Its id says the settings; of which shards, the files say."""

    maker: ClassVar[str] = "tokenize"
    index_name: ClassVar[str] = INDEX

    def index(self) -> TokensIndex | None:
        """What is whole here, this one's or another's."""
        return read_tokens_index(self.path(INDEX))

    def admit(self, about: About, planned: Iterable[str], replace: bool) -> None:
        """Whether these tokens may be written here.

        Args:
            about: their settings.
            planned: names of the files that are to be there in the end.
            replace: whether other tokens may go.

        Raises:
            PlanError: if an export, other tokens or somebody else's files are here.
        """
        if fs.exists(self.path(EXPORT_INDEX)):
            raise PlanError(f"{self.url} holds an export: write tokens to another folder with --to")
        index, present = self.index(), self._present()
        others = [name for name in self._others() if not set(present).isdisjoint(self._planned(name))]
        found = _differences(index, about) or ("tokens that are unfinished, with other settings" if others else "")
        gone = sorted(self._gone(planned).intersection(present))
        if not found and gone:
            found = f"tokens of {len(gone)} files that this pool has no shards for ({gone[0]})"
        if found and not replace:
            raise PlanError(
                f"{self.url} holds {found}: add --replace to remove them first, or write to another folder with --to"
            )
        self._no_strangers(index, others, present)

    def _present(self) -> list[str]:
        """Files that a reader of tokens would find here."""
        return [name for name in fs.names(self.url) if name.endswith((ENDING, DOCUMENTS)) and name[0] not in "_."]

    def _gone(self, planned: Iterable[str]) -> set[str]:
        """Files of these settings that are not to be here any more."""
        index = self.index()
        own = index.names if index is not None and index.id == self.id else []
        return {*own, *self._planned(self.id)}.difference(planned, [TOKENIZER_FILE])

    def claim(self, names: Iterable[str]) -> None:
        """Removes what is not wanted any more and notes what will be written; what is whole stays on record."""
        names = list(names)
        index, gone = self.index(), self._gone(names)
        if index is not None and index.id == self.id:
            fs.write_bytes(self.work(_BEFORE), dumps(index))
            self._note(self.id, [*index.names, *names])
            fs.remove(self.path(INDEX))
        super().claim([*names, *gone])
        for name in sorted(gone):
            fs.remove(self.path(name))

    def records(self, shards: Sequence[Shard]) -> dict[str, TokenFile]:
        """Name -> record of the token files that are whole and of these very shards."""
        wanted = {file_names(shard)[0]: ShardRecord.of(shard) for shard in shards}
        known = {**_files(self.index(), self.id), **_files(read_tokens_index(self.work(_BEFORE)), self.id)}
        for name in fs.names(self.work()):
            record = read_record(self.work(name), TokenFile) if name not in _NO_NOTES else None
            if record is not None:
                known[record.name] = record
        same = {name: known[name] for name, shard in wanted.items() if name in known and known[name].shard == shard}
        sizes = fs.sizes(self.url)
        return {name: record for name, record in same.items() if _is_whole(record, sizes)}

    def note(self, record: TokenFile) -> None:
        """Notes that a token file and its table are whole."""
        fs.write_bytes(self.work(f"{record.name}.json"), dumps(record))


def _files(index: TokensIndex | None, own: str) -> dict[str, TokenFile]:
    return {record.name: record for record in index.files} if index is not None and index.id == own else {}


def _is_whole(record: TokenFile, sizes: Mapping[str, int]) -> bool:
    return sizes.get(record.name) == record.bytes and sizes.get(record.beside) == record.beside_bytes


def _differences(index: TokensIndex | None, about: About) -> str:
    """What is here that is not as it is asked for, in words; "" for nothing."""
    if index is None or index.id == about.about_id:
        return ""
    pairs = {name: (index.settings.get(name), value) for name, value in about.settings.items()}
    said = [f"{name} {old} and not {new}" for name, (old, new) in pairs.items() if old != new and name != "tokenizer"]
    if index.tokenizer.sha256 != about.tokenizer.sha256:
        said.insert(0, f"another tokenizer ({index.tokenizer.name}{_at(index)})")
    return f"tokens with {', '.join(said) or 'another layout'}"


def _at(index: TokensIndex) -> str:
    return f" at {index.tokenizer.commit}" if index.tokenizer.commit else ""
