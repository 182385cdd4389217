"""What a scorer is: rows in, numbers out, with nothing of Beam in it.

A *scorer* is a frozen, picklable configuration. It says which roles it reads and which columns it makes,
so that a plan can be checked, fingerprinted and costed before anything heavy is imported. Two kinds exist:

* a plain scorer has `score(batch) -> Scored`;
* a model scorer has `load()`, and the loaded thing has `decode` for single rows, which its feed puts into batches, and
  `infer`: the model, always at one of a fixed list of shapes (`LoadedByRow`).

A row's score depends on the row alone. Errors are strings, never live exceptions: an exception that is kept
alive keeps its traceback, and with it the whole batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeGuard, runtime_checkable

import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.base.config import Config, JsonObject
from poolsieve.scoring_models.base.errors import RowError
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.base.work import ModelWork


@dataclass(frozen=True)
class Scored:
    """The scores of one batch of `n` rows: column -> array of length n, and row index -> error.

    A row with an error has null in every column. A null without an error means "nothing to score" (a null role).
    """

    columns: Mapping[str, pa.Array]
    errors: Mapping[int, RowError] = field(default_factory=dict)
    seconds: float | None = None
    """What it took, where several share a model: their seconds add up to the clock's. None: what the clock says."""
    work: ModelWork | None = None
    """What the model did since somebody was last told: whoever has it adds it up. None without a model."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a scorer wants of a worker.

    `holds_gil`: its work is Python or holds the interpreter lock, so two threads gain nothing and local runs use
    processes. `device`: "cpu" or "cuda". `memory_mb`: a hint for one loaded copy.
    """

    holds_gil: bool = False
    device: str = "cpu"
    memory_mb: int = 100


@runtime_checkable
class Scorer(Protocol):
    """The part of a scorer that every kind has. `columns` is ordered; see `score_names` for what is stored.

    A class may also have `packages`, names of distributions whose versions the manifest then has (`ScorerConfig`);
    `optional_reads`, roles of `reads` that a pool need not have: they come as nulls then; and `spares = True`, with
    which a failed row has null here, is tried again with the others that failed, and is not quarantined.
    """

    @property
    def reads(self) -> tuple[str, ...]:
        """The roles whose values `score` or `decode` finds as columns of its batch."""
        ...

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """Column name -> Arrow type. The name "" is the scorer's main number."""
        ...

    @property
    def version(self) -> int:
        """Bumped by hand whenever the same input would give another number."""
        ...

    @property
    def resources(self) -> Resources:
        """What one copy of the scorer needs."""
        ...

    def to_dict(self) -> JsonObject:
        """The configuration, as plain JSON values."""
        ...

    def files(self) -> Mapping[str, Path]:
        """Model files by a name that does not depend on the machine; their contents enter the fingerprint.

        Raises `PlanError` when the model can't be found. May download (the hub's cache is used).
        """
        ...


class KnowsFacts(Scorer, Protocol):
    """A scorer whose columns depend on what its files say. A decision over its stored scores needs no file of it."""

    def facts(self) -> JsonObject:
        """What the files say of the columns, as JSON values; kept in `scorer.json`."""
        ...

    def with_facts(self, found: JsonObject) -> Scorer:
        """The same scorer, which knows its columns from these facts and looks at no file for them.

        Raises `PoolsieveError` for facts that are none of its own.
        """
        ...


def is_scorer(made: object) -> TypeGuard[Scorer]:
    """Whether it has what every scorer has. What `columns` says is not asked: a scorer may look at files for that."""
    nothing = object()
    return all(
        inspect.getattr_static(made, name, nothing) is not nothing or hasattr(made, name) for name in _OF_SCORERS
    )


_OF_SCORERS = ("reads", "columns", "version", "resources", "to_dict", "files")


def knows_facts(scorer: Scorer) -> TypeGuard[KnowsFacts]:
    """Whether it is one of these."""
    return hasattr(type(scorer), "with_facts")


class BatchScorer(Scorer, Protocol):
    """A scorer without a model."""

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Scores of a batch with exactly the columns named in `reads`."""
        ...


class PieceScorer(Scorer, Protocol):
    """A scorer whose answers cost so much that they are stored before the shard is through: an endpoint's.

    A pass commits what has come after `commit_rows` rows or `commit_seconds` seconds, whichever is first. A run that is
    killed loses what came since; what is stored is never asked for again.

    One may have `check_access()`, which raises `PlanError` where a key is missing. A plan calls it only if some shard
    has no scores yet, since nobody needs a key for answers that are there.
    """

    @property
    def commit_rows(self) -> int:
        """Rows that are committed together."""
        ...

    @property
    def commit_seconds(self) -> float:
        """Seconds after which fewer are."""
        ...

    def pieces(self, batch: pa.RecordBatch, check: Callable[[], object]) -> Generator[tuple[list[int], Scored]]:
        """Rows of the batch as they come, in any order, each once, and their scores: columns in the order of the rows.

        Errors count rows of the piece. While nothing comes, it gives a piece of no rows (columns of length 0) about
        once a second, so that what came before can be committed in time; and `check` is called, which may raise.
        """
        ...


Scores = Mapping[str, np.ndarray[Any, Any]]
"""Column -> array of shape (m,) or (m, d): what a model gives for m rows."""


class ModelBatch(NamedTuple):
    """One batch, ready for the model: `rows` are the places of real rows in it, `shape` is one of the listed shapes."""

    rows: Sequence[int]
    shape: str
    inputs: Any


class ModelRow(NamedTuple):
    """One row, or a part of one, ready for a batch: its row in the caller's batch, its shape, arrays of its own."""

    row: int
    shape: str
    inputs: tuple[np.ndarray[Any, Any], ...]


class LoadedByRow(Protocol):
    """A model in memory that takes single rows, whoever they are from: its feed makes the batches.

    All methods must be safe to call from several threads at once. A class may also have

    * `at_once`, how many batches may be in `infer` at a time: a device needs two, one that it computes and one that is
      ready. Without it, each of the feed's threads may have one;
    * `joined(parts: Scores, owners, count: int) -> Scores`, if a row may have several parts (the windows of a text):
      columns of `count` rows from what `infer` gave for all their parts. `owners`, int64 (parts,), says which of the
      rows each is of. Parts are sorted by row, and those of a row are in the order in which `decode` gave them. If a
      part fails, so does its row. Without it, one part is a row, and `infer` gives the scorer's columns;
    * `flops(shape)`, the floating-point operations of a full batch of that shape (float), from which a report has the
      model's share of its device's peak;
    * `devices`, on how many it runs.
    """

    settings: JsonObject
    """What scores depend on beside the configuration: dtype, shapes, threads, device, preprocessing. JSON values;
    written to `scorer.json` at first use, and a later worker whose settings differ is refused."""

    def pieces(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        """Positions of the rows that have something to score, a few at a time: what one thread decodes in one go."""
        ...

    def decode(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[ModelRow], dict[int, RowError]]:
        """Decodes or tokenises `rows` of `batch`; a row that can't be read comes back as an error.

        A part's shape must be a function of the part alone, and the parts a function of the row alone.
        """
        ...

    def room(self, shape: str) -> int:
        """Rows, or parts of rows, of a full batch of that shape."""
        ...

    def filled(self, shape: str, inputs: Sequence[tuple[np.ndarray[Any, Any], ...]]) -> Any:
        """At most `room(shape)` rows as one batch of exactly that shape, dummy rows behind the real ones."""
        ...

    def infer(self, prepared: ModelBatch) -> Scores:
        """Name -> array whose first len(prepared.rows) entries belong to the rows of the batch, in their order.

        A row of which a number is NaN or infinite has no score.
        """
        ...


class ModelScorer(Scorer, Protocol):
    """A scorer whose numbers come from a model that must be loaded."""

    def load(self) -> LoadedByRow:
        """Loads the model. Called once a process and device."""
        ...


class ScorerConfig(Config):
    """Mix-in for the configurations of poolsieve's own scorers: packages, and no model files.

    `packages` is no part of the protocol `Scorer`, so that a user's class in a recipe file needs none.
    """

    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions that scores depend on; their versions go into the manifest, those not installed are left out."""

    extra: ClassVar[str] = ""
    """The extra of poolsieve that installs them; "" where none does."""

    def files(self) -> Mapping[str, Path]:
        """No model files.

        Raises:
            PlanError: if one of `packages` is not installed.
        """
        need(type(self).__name__, *self.packages, extra=self.extra)
        return {}


@dataclass(frozen=True, eq=False, kw_only=True)
class TextScorer(ScorerConfig):
    """What scorers of one text role have in common; a subclass adds `columns`, and `score` or `load`.

    The fields are keyword-only, so that a subclass may put its own before them. One whose numbers change says
    `version: int = field(default=2, kw_only=True)`.

    Args:
        text: the role to read.
        version: see `Scorer`.
    """

    text: str = "text"
    version: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The text role."""
        return (self.text,)

    @property
    def resources(self) -> Resources:
        """Python string work, which holds the interpreter lock."""
        return Resources(holds_gil=True)


def has_model(scorer: object) -> bool:
    """Whether a scorer must be loaded before it can score."""
    return hasattr(scorer, "load")


def in_pieces(scorer: object) -> bool:
    """Whether a scorer gives its scores in pieces, each of which costs: a plan never asks it for a sample."""
    return hasattr(scorer, "commit_rows")


def fed(scorer: Scorer) -> bool:
    """Whether a scorer has a model that lets Python's lock go, so that it gains from rows of several batches."""
    return (has_model(scorer) or in_pieces(scorer)) and not scorer.resources.holds_gil


def score_names(name: str, columns: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    """Full name -> type: `name` for a single or the main ("") column, else `name.column`."""
    if len(columns) == 1:
        return {name: next(iter(columns.values()))}
    return {f"{name}.{column}" if column else name: kind for column, kind in columns.items()}
