"""What a scorer is: rows in, numbers out, with nothing of Beam in it.

A *scorer* is a frozen, picklable configuration. It says which roles it reads and which columns it makes,
so that a plan can be checked, fingerprinted and costed before anything heavy is imported. Two kinds exist:

* a plain scorer has `score(batch) -> Scored`;
* a model scorer has `load() -> Loaded`, and the loaded thing has `prepare` (decoding, tokenising; runs ahead in
  threads) and `infer` (the model, always at one of a fixed list of shapes).

A row's score depends on the row alone. Errors are strings, never live exceptions: an exception that is kept
alive keeps its traceback, and with it the whole batch.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import pyarrow as pa


class PoolsieveError(Exception):
    """The root of every error that poolsieve raises on purpose; its text is meant for the user."""


class PlanError(PoolsieveError, ValueError):
    """A recipe, an argument or a pool that can't work, found before any work starts."""


class RowError(NamedTuple):
    """Why one row has no score: a short class for reasons (`image_decode`) and a message for people."""

    kind: str
    message: str


@dataclass(frozen=True)
class Scored:
    """The scores of one batch of `n` rows: column -> array of length n, and row index -> error.

    A row with an error has null in every column. A null without an error means "nothing to score" (a null role).
    """

    columns: Mapping[str, pa.Array]
    errors: Mapping[int, RowError] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a scorer wants of a worker.

    `holds_gil`: its work is Python or holds the interpreter lock, so two threads gain nothing and local runs use
    processes. `device`: "cpu" or "cuda". `memory_mb`: a hint for one loaded copy.
    """

    holds_gil: bool = False
    device: str = "cpu"
    memory_mb: int = 100


def canonical_json(value: Any) -> str:
    """One spelling of a JSON value: sorted keys, no blanks, ASCII. What fingerprints are made from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, pa.DataType):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (tuple, set, frozenset)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    return str(value)


def digest(value: Any, size: int = 8) -> str:
    """Hexadecimal BLAKE2b of the canonical JSON of `value`, `size` bytes long."""
    return hashlib.blake2b(canonical_json(value).encode(), digest_size=size).hexdigest()


class Config:
    """Mix-in for frozen dataclasses: `to_dict()` for manifests and fingerprints, equality and hash by content."""

    def to_dict(self) -> dict[str, Any]:
        """The class's name under `type` and every field that is not at its default, as plain JSON values."""
        out: dict[str, Any] = {"type": type(self).__name__}
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if item.metadata.get("runtime") or _is_default(item, value):
                continue
            out[item.name] = json.loads(canonical_json(value))
        return out

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.to_dict() == other.to_dict()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(canonical_json(self.to_dict()))


def _is_default(item: dataclasses.Field[Any], value: Any) -> bool:
    if item.default is not dataclasses.MISSING:
        return value is item.default or (type(value) is type(item.default) and bool(value == item.default))
    if item.default_factory is not dataclasses.MISSING:
        return bool(value == item.default_factory())
    return False


@runtime_checkable
class Scorer(Protocol):
    """The part of a scorer that every kind has. `columns` is ordered; see `score_names` for what is stored."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The roles whose values `score` or `prepare` finds as columns of its batch."""
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

    def to_dict(self) -> dict[str, Any]:
        """The configuration, as plain JSON values."""
        ...

    def files(self) -> Mapping[str, Path]:
        """Model files by a name that does not depend on the machine; their contents enter the fingerprint.

        Raises `PlanError` when the model can't be found. May download (the hub's cache is used).
        """
        ...


class BatchScorer(Scorer, Protocol):
    """A scorer without a model."""

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Scores of a batch with exactly the columns named in `reads`."""
        ...


class Prepared(NamedTuple):
    """One micro-batch, ready for the model: `rows` are its positions in the batch, `shape` one of the listed shapes."""

    rows: Sequence[int]
    shape: str
    inputs: Any


class Loaded(Protocol):
    """A model in memory. Both methods must be safe to call from several threads at once."""

    settings: Mapping[str, Any]
    """What scores depend on beside the configuration: dtype, shapes, threads, device, preprocessing. JSON values;
    written to `scorer.json` at first use, and a later worker whose settings differ is refused."""

    def micro_batches(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        """Row positions that go through the model together, cheap to compute (from sizes, not from contents)."""
        ...

    def prepare(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[Prepared], dict[int, RowError]]:
        """Decodes or tokenises `rows` of `batch`; a row that can't be read comes back as an error."""
        ...

    def infer(self, prepared: Prepared) -> Mapping[str, Any]:
        """Column -> array whose first len(prepared.rows) entries belong to those rows (the rest is filling)."""
        ...


class ModelScorer(Scorer, Protocol):
    """A scorer whose numbers come from a model that must be loaded."""

    def load(self) -> Loaded:
        """Loads the model. Called once a process and device."""
        ...


def score_names(name: str, scorer: Scorer) -> dict[str, pa.DataType]:
    """Stored score name -> type: `name` for a single or the main ("") column, else `name.column`."""
    columns = scorer.columns
    if len(columns) == 1:
        return {name: next(iter(columns.values()))}
    return {f"{name}.{column}" if column else name: kind for column, kind in columns.items()}


@dataclass(frozen=True, eq=False)
class FunctionScorer(Config):
    """A user's own function as a scorer; made by `scorer(...)`.

    The function takes one `pyarrow.Array` for each role it reads, in order, and returns an array (or a sequence) of
    the same length; with several columns a mapping of column -> array.
    """

    fn: Callable[..., Any] = field(metadata={"runtime": True})
    reads: tuple[str, ...]
    columns: Mapping[str, pa.DataType]
    version: int = 1
    name: str = ""
    resources: Resources = field(default=Resources(holds_gil=True), metadata={"runtime": True})

    def files(self) -> Mapping[str, Path]:
        """No model files."""
        return {}

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Calls the function and casts what it returns to the declared types."""
        result = self.fn(*(batch.column(role) for role in self.reads))
        if len(self.columns) == 1 and not isinstance(result, Mapping):
            result = {next(iter(self.columns)): result}
        columns = {name: _as_array(result[name], kind) for name, kind in self.columns.items()}
        for name, array in columns.items():
            if len(array) != batch.num_rows:
                raise PoolsieveError(f"{self.name} returned {len(array)} values in {name!r} for {batch.num_rows} rows")
        return Scored(columns)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.fn, self.reads, dict(self.columns), self.version, self.name, self.resources))


def _as_array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return values.cast(kind)
    return pa.array(values, type=kind)


def scorer(
    fn: Callable[..., Any],
    *,
    reads: Sequence[str],
    columns: Mapping[str, str | pa.DataType],
    version: int = 1,
    holds_gil: bool = True,
) -> FunctionScorer:
    """Makes a scorer of a plain function: `scorer(sharpness, reads=("image",), columns={"sharp": "float32"})`.

    Raise `version` whenever the function gives other numbers: stored scores are looked up by it.

    Raises:
        PlanError: for a lambda or a nested function, which can't be sent to a worker.
    """
    qualified = top_level_name(fn, "scorer")
    types = {name: kind if isinstance(kind, pa.DataType) else pa.type_for_alias(kind) for name, kind in columns.items()}
    if not types:
        raise PlanError(f"scorer({qualified}) needs at least one column, as columns={{'x': 'float32'}}")
    return FunctionScorer(fn, tuple(reads), types, version, qualified, Resources(holds_gil=holds_gil))


def top_level_name(fn: Callable[..., Any], what: str) -> str:
    """The name by which a worker finds a function again.

    Raises:
        PlanError: for a lambda or a nested function, which has none.
    """
    qualified: str = getattr(fn, "__qualname__", "")
    if "<lambda>" in qualified or "<locals>" in qualified or not qualified:
        raise PlanError(
            f"{what}({qualified or fn!r}) can't be sent to a worker: lambdas and nested functions have no name that a "
            "worker could import. Write a function with `def` at the top level of the recipe file."
        )
    return qualified


_BASE: contextvars.ContextVar[str | None] = contextvars.ContextVar("poolsieve_base", default=None)


@contextlib.contextmanager
def base_folder(path: str) -> Iterator[None]:
    """While a recipe is executed: the folder that its relative paths are relative to (a worker runs from elsewhere)."""
    token = _BASE.set(path)
    try:
        yield
    finally:
        _BASE.reset(token)


def absolute_path(path: str) -> str:
    """`path` made absolute and normalised, relative to the recipe's base folder; URLs stay as they are."""
    if "://" in path:
        return path
    return os.path.abspath(os.path.join(_BASE.get() or os.getcwd(), os.path.expanduser(path)))
