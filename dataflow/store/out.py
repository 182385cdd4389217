"""OUT as an object: what a whole run has come to, read from its files, typed."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from poolsieve.dataflow import fs, leases
from poolsieve.dataflow.recipes.walk import Cuts
from poolsieve.dataflow.store import layout, splits
from poolsieve.dataflow.store.leaves import files_named
from poolsieve.dataflow.store.manifest import Manifest, RowCounts, read_ledger, read_manifest
from poolsieve.dataflow.store.scores import merge_files
from poolsieve.dataflow.store.shard_lines import ShardLine, read_shards
from poolsieve.dataflow.store.summary import Summary
from poolsieve.filters.dsl.cuts import Table
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, unknown_name

PATH = "path"
"""The column of `OutFolder.ledger` that names a row's file; row keys are (path, row)."""


class OutFolder:
    """The folder of a whole run, with the decision that was current when it was opened.

    Decisions are never changed, so what this reads stays the same whatever is decided later; open the folder again to
    see another decision.

    Args:
        url: OUT, on any fsspec storage.

    Raises:
        PlanError: if there is no whole run.
    """

    def __init__(self, url: str) -> None:
        self.url = fs.absolute(url)
        self.manifest: Manifest = read_manifest(self.url)

    @property
    def decision(self) -> str:
        """The decision's id."""
        return self.manifest.decision

    @property
    def counts(self) -> RowCounts:
        """Rows in, kept, dropped, quarantined."""
        return self.manifest.rows

    @property
    def reasons(self) -> Mapping[str, int]:
        """Reason -> rows."""
        return self.manifest.reasons

    @property
    def cuts(self) -> Cuts:
        """The exact cuts that the decision came to, or was given: name -> group -> cut."""
        return self.manifest.cuts

    @functools.cached_property
    def shards(self) -> Sequence[ShardLine]:
        """One line a shard, in pool order."""
        return read_shards(self.url, self.decision)

    @functools.cached_property
    def summary(self) -> Summary:
        """Counts, funnel, histograms and samples of the decision; see `summary_of`."""
        return self.summary_of(self.decision)

    def summary_of(self, decision: str) -> Summary:
        """The same of any decision that OUT still has.

        Raises:
            PlanError: if it is missing, as in an OUT of an older version.
            PoolsieveError: if it is damaged, or another decision's.
        """
        url = layout.summary_url(self.url, decision)
        try:
            found = Summary.from_json(json.loads(fs.read_bytes(url)))
        except FileNotFoundError as error:
            raise PlanError(f"{url} is missing; `poolsieve decide --out {self.url}` makes it again") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # The error may quote the file: a whole page of it, or what a terminal takes for commands.
            said = "".join(char for char in str(error)[:300] if char.isprintable())
            raise PoolsieveError(f"{url} is damaged ({said}); `poolsieve decide` makes it again") from error
        if found.decision != decision:
            raise PoolsieveError(
                f"{url} is damaged (it names decision {found.decision[:100]!r}); `poolsieve decide` makes it again"
            )
        return found

    def ledger_of(self, line: ShardLine, columns: Sequence[str] | None = None) -> pa.Table:
        """The ledger of one shard: row, uid, keep, reason, and every score.

        Raises:
            PoolsieveError: if it is missing or damaged, or is not the one that the decision was closed with.
        """
        return read_ledger(self.url, self.decision, line, columns)

    def ledgers(self, columns: Sequence[str] | None = None) -> Iterator[tuple[ShardLine, pa.Table]]:
        """The ledger shard by shard, in pool order, in flat memory."""
        for line in self.shards:
            yield line, self.ledger_of(line, columns)

    def ledger(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The whole ledger as one table, in pool order.

        Args:
            columns: of `path`, `row`, `uid`, `keep`, `reason` and the scores; None for all of them.

        Raises:
            PlanError: for a column that it has not.
        """
        if isinstance(columns, str):
            raise PlanError(f"columns={columns!r}: give a list of names, as [{columns!r}]")
        stored = None if columns is None else [name for name in columns if name not in (PATH, "row")]
        self._check_columns(stored or ())
        # A table without columns forgets how many rows it has: `row` comes along, and stays behind.
        tables = [_with_path(line, table) for line, table in self.ledgers(None if stored is None else ["row", *stored])]
        whole = pa.concat_tables(tables).unify_dictionaries()
        return whole if columns is None else whole.select(list(columns))

    def _check_columns(self, columns: Sequence[str]) -> None:
        there = self.ledger_columns()
        for name in columns:
            if name not in there:
                raise unknown_name(f"the ledger has no column {name!r}", name, [PATH, *there])

    def ledger_columns(self) -> dict[str, pa.DataType]:
        """Name -> type of the ledger's columns."""
        first = self.ledger_of(self.shards[0])
        return {item.name: item.type for item in first.schema}

    def has_subset(self) -> bool:
        """Whether the decision has a `subset.npy`: where uids are 128-bit hexadecimal numbers."""
        return fs.exists(layout.subset_url(self.url, self.decision))

    def remove_older(self) -> list[str]:
        """Removes decisions other than the current one, and what killed runs left half-written; names them.

        Where a shard has many score files, as answers that are committed as they come leave them, one is made of them.

        Raises:
            InUse: while another command works in OUT.
            PlanError: if another decision has become the current one since this was opened.
        """
        with leases.held(layout.leases_folder(self.url), leases.SOLE, "poolsieve prune"):
            self.check_current()
            gone = {
                f"decisions/{name}" for name in fs.names(layout.decisions_folder(self.url)) if name != self.decision
            }
            gone |= {f"runs/{name}" for name in fs.names(layout.runs_folder(self.url))}
            gone |= {f"parts/{name}" for name in fs.names(layout.parts_folder(self.url))}
            gone |= {f"derived/{name}" for name in self._unused()}
            gone |= {f"splits/{name}" for name in splits.unused(self.url, self.shards)}
            for name in sorted(gone):
                fs.remove(fs.join(self.url, name))
            return sorted(gone) + self._merge_scores() + fs.remove_leftovers(self.url)

    def _merge_scores(self) -> list[str]:
        scores = layout.scores_folder(self.url)
        found = [(name, merge_files(layout.below(scores, name))) for name in fs.names(scores)]
        return [f"scores/{name}/{file}" for name, gone in found for file in gone]

    def _unused(self) -> set[str]:
        """Files of what was gathered or joined for other decisions."""
        marks = (one for groups in self.cuts.values() for one in groups.values())
        names = [one.file for one in marks if isinstance(one, Table) and one.file]
        used = {file for name in names for file in files_named(self.url, name)}
        return set(fs.names(layout.derived_folder(self.url))) - used

    def check_current(self) -> None:
        """Compares the decision with the one that is current now.

        Raises:
            PlanError: if that is another.
        """
        current = read_manifest(self.url).decision
        if current != self.decision:
            raise PlanError(
                f"decision {current} has become the current one in {self.url} since this was opened, at "
                f"{self.decision}: open it again with poolsieve.open({self.url!r})"
            )


def _with_path(line: ShardLine, table: pa.Table) -> pa.Table:
    index = pa.array([0], pa.int32()).take(pa.array([0] * table.num_rows, pa.int32()))
    paths = pa.DictionaryArray.from_arrays(index, pa.array([line.path]))
    return table.replace_schema_metadata().add_column(0, PATH, paths)
