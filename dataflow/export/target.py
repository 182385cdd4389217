"""The folder that an export is written to: who owns it, which of its files are whole, and what is removed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poolsieve.dataflow import fs
from poolsieve.dataflow.export.rows import OutputFile
from poolsieve.dataflow.store.summary import dumps
from poolsieve.scoring_models.base.errors import PlanError

WORK = ".poolsieve-export"
"""Below the target while an export is unfinished: `<id>/plan.json` with the names of its files, `<id>/<n>.json` for
each file that is whole."""

INDEX = "export.json"


@dataclass(frozen=True)
class Target:
    """One export's claim to a folder."""

    url: str
    id: str

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
        index = _read(self.path(INDEX))
        present = self._present()
        others = [name for name in self._others() if not set(present).isdisjoint(self._planned(name))]
        if replace or not (others or (index and index.get("export") != self.id)):
            self._no_strangers(index, others, present)
            return
        what = "the unfinished export" if not index else f"an export of decision {index.get('decision')}"
        raise PlanError(
            f"{self.url} holds {what} with another selection or other settings: add --replace to remove its files "
            "first, or write to another folder with --to"
        )

    def _others(self) -> list[str]:
        """Other unfinished exports."""
        return [name for name in fs.names(fs.join(self.url, WORK)) if name != self.id]

    def _present(self) -> list[str]:
        """Files that training would read."""
        data = [f"data/{name}" for name in fs.names(self.path("data")) if name.endswith(".parquet")]
        here = fs.names(self.url)
        return data + [name for name in here if name.endswith((".tar", ".parquet")) or name == "sizes.json"]

    def _no_strangers(self, index: Mapping[str, Any] | None, others: Sequence[str], present: Sequence[str]) -> None:
        """Files that training would read along with ours, though no export wrote them."""
        known = {*_files(index), *self._planned(self.id)}
        for other in others:
            known.update(self._planned(other))
        strange = [name for name in present if name not in known]
        if strange:
            raise PlanError(
                f"{self.url} has files that no export wrote ({', '.join(strange[:3])}), which would be read as part of "
                "this one: move them away, or write to another folder with --to"
            )

    def _planned(self, export: str) -> list[str]:
        plan = _read(fs.join(self.url, WORK, export, "plan.json"))
        return list(plan["files"]) if plan else []

    def claim(self, names: Iterable[str]) -> None:
        """Removes other exports and notes which files this one will write.

        In an order that a kill can't hurt: an index goes before the first of its files, and their names stay on
        record until the last of them is gone.
        """
        index = _read(self.path(INDEX))
        if index and index.get("export") != self.id:
            old = str(index.get("export"))
            self._note(old, _files(index))
            fs.remove(self.path(INDEX))
        for other in self._others():
            for name in self._planned(other):
                fs.remove(self.path(name))
            fs.remove(fs.join(self.url, WORK, other))
        self._note(self.id, names)

    def _note(self, export: str, names: Iterable[str]) -> None:
        fs.write_bytes(fs.join(self.url, WORK, export, "plan.json"), dumps({"files": sorted(names)}))

    def whole(self, parts: Sequence[OutputFile]) -> dict[str, dict[str, Any]]:
        """Name -> record of the parts that are there already, of the size that was noted."""
        index = _read(self.path(INDEX))
        records = {record["name"]: record for record in (index or {}).get("files", [])}
        for name in fs.names(self.work()):
            record = _read(self.work(name)) if name not in ("plan.json", "found") else None
            if record:
                records[record["name"]] = record
        found = {part.name: records[part.name] for part in parts if part.name in records}
        return {name: record for name, record in found.items() if self._is_there(name, record)}

    def _is_there(self, name: str, record: Mapping[str, Any]) -> bool:
        system, path = fs.connect(self.path(name))
        try:
            return fs.stat(system, path).size == record["bytes"]
        except FileNotFoundError:
            return False

    def done(self, record: Mapping[str, Any]) -> None:
        """Notes that a file is whole."""
        fs.write_bytes(self.work(f"{record['name'].replace('/', '_')}.json"), dumps(record))

    def finish(self, index: Mapping[str, Any]) -> None:
        """Writes the index: from now on the export is whole."""
        fs.write_bytes(self.path(INDEX), dumps(index))
        fs.remove(fs.join(self.url, WORK))


def _files(index: Mapping[str, Any] | None) -> list[str]:
    """Everything that an index says was written, itself left out."""
    if not index:
        return []
    return [record["name"] for record in index.get("files", [])] + list(index.get("also", []))


def _read(url: str) -> dict[str, Any] | None:
    """A small JSON file; None if there is none.

    Raises:
        PlanError: if it is something else.
    """
    try:
        found = json.loads(fs.read_bytes(url))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PlanError(f"{url} is damaged ({error}): remove it, and export again with --replace") from error
    if not isinstance(found, dict):
        raise PlanError(f"{url} is not one of poolsieve's: remove it, or write to another folder with --to")
    return found
