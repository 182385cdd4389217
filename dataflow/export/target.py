"""The folder that an export is written to: who owns it, which of its files are whole, and what is removed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from poolsieve.dataflow import fs
from poolsieve.dataflow.export.index import INDEX, FileRecord, PlanNote, Whole, read_index, read_record
from poolsieve.dataflow.export.parts import OutputFile
from poolsieve.dataflow.pools.formats import FORMATS
from poolsieve.dataflow.store.summary import dumps
from poolsieve.scoring_models.base.errors import PlanError

WORK = ".poolsieve-export"
"""Below the target while an export is unfinished: `<id>/plan.json` with the names of its files, `<id>/<n>.json` for
each file that is whole."""

LEASES = ".poolsieve-leases"
"""Below the target: who writes to it right now."""

_FOLDER = re.compile(r"data(-\d+)?")
_ENDINGS = tuple(ending for format in FORMATS.values() for ending in format.endings)


@dataclass(frozen=True)
class Target:
    """One export's claim to a folder."""

    url: str
    id: str

    maker: ClassVar[str] = "export"
    """What writes such folders, for people."""
    index_name: ClassVar[str] = INDEX

    def index(self) -> Whole | None:
        """What is whole here, this one's or another's."""
        return read_index(self.url)

    def path(self, *parts: str) -> str:
        """A file of the export."""
        return fs.join(self.url, *parts)

    def work(self, *parts: str) -> str:
        """A note of this unfinished export."""
        return fs.join(self.url, WORK, self.id, *parts)

    def check(self, replace: bool) -> None:
        """Whether this export may write here.

        Raises:
            PlanError: if another export, or somebody else's data, is here.
        """
        index, present = self.index(), self._present()
        others = [name for name in self._others() if not set(present).isdisjoint(self._planned(name))]
        if replace or not (others or (index and index.id != self.id)):
            self._no_strangers(index, others, present)
            return
        what = f"the unfinished {self.maker}" if index is None else self.said(index)
        raise PlanError(
            f"{self.url} holds {what} with another selection or other settings: add --replace to remove its files "
            "first, or write to another folder with --to"
        )

    def said(self, index: Any) -> str:
        """What is whole here, in words."""
        return f"an export of decision {index.decision}"

    def _others(self) -> list[str]:
        """Other unfinished exports."""
        return [name for name in fs.names(fs.join(self.url, WORK)) if name != self.id]

    def _present(self) -> list[str]:
        """Files that training would read: those of any format, here and in the folders that exports write."""
        here = fs.names(self.url)
        inside = [f"{name}/{file}" for name in here if _FOLDER.fullmatch(name) for file in fs.names(self.path(name))]
        return [name for name in [*inside, *here] if _is_data(name)]

    def _no_strangers(self, index: Whole | None, others: Sequence[str], present: Sequence[str]) -> None:
        """Files that training would read along with ours, though nobody noted them."""
        known = {*(index.names if index else ()), *self._planned(self.id)}
        for other in others:
            known.update(self._planned(other))
        strange = [name for name in present if name not in known]
        if strange:
            raise PlanError(
                f"{self.url} has files that no {self.maker} wrote ({', '.join(strange[:3])}), which would be read as "
                "part of this one: move them away, or write to another folder with --to"
            )

    def _planned(self, export: str) -> tuple[str, ...]:
        plan = read_record(fs.join(self.url, WORK, export, "plan.json"), PlanNote)
        return plan.files if plan else ()

    def claim(self, names: Iterable[str]) -> None:
        """Removes other exports and notes which files this one will write.

        In an order that a kill can't hurt: an index goes before the first of its files, and their names stay on
        record until the last of them is gone.
        """
        index = self.index()
        if index and index.id != self.id:
            self._note(index.id, index.names)
            fs.remove(self.path(self.index_name))
        for other in self._others():
            for name in self._planned(other):
                fs.remove(self.path(name))
            fs.remove(fs.join(self.url, WORK, other))
        self._note(self.id, names)

    def _note(self, export: str, names: Iterable[str]) -> None:
        fs.write_bytes(fs.join(self.url, WORK, export, "plan.json"), dumps(PlanNote(files=tuple(sorted(names)))))

    def whole(self, parts: Sequence[OutputFile]) -> dict[str, FileRecord]:
        """Name -> record of the parts that are there already, of the size that was noted."""
        index = read_index(self.url)
        records = {record.name: record for record in (index.files if index else ())}
        for name in fs.names(self.work()):
            record = read_record(self.work(name), FileRecord) if name not in ("plan.json", "found") else None
            if record is not None:
                records[record.name] = record
        found = {part.name: records[part.name] for part in parts if part.name in records}
        return {name: record for name, record in found.items() if self.has(record.name, record.bytes)}

    def has(self, name: str, nbytes: int) -> bool:
        """Whether a file of that size is there."""
        system, path = fs.connect(self.path(name))
        try:
            return fs.stat(system, path).size == nbytes
        except FileNotFoundError:
            return False

    def done(self, record: FileRecord) -> None:
        """Notes that a file is whole."""
        fs.write_bytes(self.work(f"{record.name.replace('/', '_')}.json"), dumps(record))

    def finish(self, index: Whole) -> None:
        """Writes the index: from now on what is here is whole."""
        # The lease says that nobody else writes here.
        fs.remove_leftovers_beside(map(self.path, [self.index_name, *index.names]))
        fs.write_bytes(self.path(self.index_name), dumps(index))
        fs.remove(fs.join(self.url, WORK))


def _is_data(name: str) -> bool:
    base = name.rpartition("/")[2]
    return base.endswith(_ENDINGS) and not base.startswith(("_", "."))
