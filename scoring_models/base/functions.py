"""A user's own function as a scorer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from poolsieve.scoring_models.base.arrow import type_named
from poolsieve.scoring_models.base.config import absolute_path
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.kinds import short, wrong_kind
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig


@dataclass(frozen=True, eq=False)
class FunctionScorer(ScorerConfig):
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
    read_files: Mapping[str, str] = field(default_factory=dict, metadata={"runtime": True})
    """Name -> path of each file that the function reads; their contents are in the fingerprint, their places not."""

    def files(self) -> Mapping[str, Path]:
        """The files that the function reads.

        Raises:
            PlanError: if one is missing.
        """
        return existing(self.read_files, f"scorer({self.name})")

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
        made = (self.fn, self.reads, dict(self.columns), self.version, self.name, self.resources, dict(self.read_files))
        return (type(self), made)


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
    files: Sequence[str] = (),
) -> FunctionScorer:
    """Makes a scorer of a plain function: `scorer(sharpness, reads=("image",), columns={"sharp": "float32"})`.

    Raise `version` whenever the function gives other numbers: stored scores are looked up by it. `files` are those that
    the function reads, with paths as a pool's: one that changes has the rows scored anew.

    >>> def shouting(text):
    ...     return [sum(map(str.isupper, value)) / len(value) for value in text.to_pylist()]
    >>> made = scorer(shouting, reads=("text",), columns={"share": "float32"})
    >>> made.score(pa.record_batch({"text": ["LOUD", "or Not"]})).columns["share"].to_pylist()
    [1.0, 0.1666666716337204]

    Raises:
        PlanError: for a lambda or a nested function, which can't be sent to a worker, and for files that can't be told
            apart by their names as given.
    """
    qualified = top_level_name(fn, "scorer")
    what = f"scorer({qualified})"
    roles, types = roles_read(reads, version, what), _column_types(columns, what)
    resources = Resources(holds_gil=holds_gil)
    return FunctionScorer(fn, roles, types, version, qualified, resources, declared_files(files, what))


def roles_read(reads: Any, version: Any, what: str) -> tuple[str, ...]:
    """The roles that a function reads, once they are names, and its version is a number.

    Raises:
        PlanError: for anything else, a single text in place of a list included.
    """
    if isinstance(reads, str):
        raise PlanError(f"{what}: reads takes several roles, as reads=({reads!r},)")
    for name, value, hint in (("reads", reads, list[str]), ("version", version, int)):
        wrong = wrong_kind(value, hint)
        if wrong is not None:
            raise PlanError(f"{what}, {name}={short(value)}: {wrong}")
    return tuple(reads)


def _column_types(columns: Any, what: str) -> dict[str, pa.DataType]:
    if not isinstance(columns, Mapping) or not columns or not all(isinstance(name, str) for name in columns):
        raise PlanError(f"{what} needs columns by name, as columns={{'x': 'float32'}}, not {short(columns)}")
    return {name: _column_type(name, kind, what) for name, kind in columns.items()}


def _column_type(name: str, kind: Any, what: str) -> pa.DataType:
    try:
        return kind if isinstance(kind, pa.DataType) else type_named(kind)
    except (ValueError, AttributeError, TypeError) as error:
        raise PlanError(
            f"{what}: column {name!r} can't be {short(kind)}; write a type of Arrow's, as 'float32'"
        ) from error


def declared_files(files: Sequence[str], what: str) -> dict[str, str]:
    """Name -> absolute path of the files that a function reads; the name does not depend on the machine.

    A relative path is its own name and means what it means in a pool (`absolute_path`); an absolute one goes by its
    last part.

    Raises:
        PlanError: for a single text in place of a list, for URLs, and for two files of one name.
    """
    if isinstance(files, (str, Path)):
        raise PlanError(f"{what}: files takes several, as files=({str(files)!r},)")
    made: dict[str, str] = {}
    for file in map(str, files):
        name = Path(file).name if Path(file).expanduser().is_absolute() else Path(file).as_posix()
        if "://" in file or name in made:
            raise PlanError(f"{what}: files has {file!r}, which is a URL or there twice; name each local file once")
        made[name] = absolute_path(file)
    return made


def existing(files: Mapping[str, str], what: str) -> dict[str, Path]:
    """The same as paths of files that are there.

    Raises:
        PlanError: naming the first that is missing.
    """
    missing = [path for path in files.values() if not Path(path).is_file()]
    if missing:
        raise PlanError(
            f"{what} reads {missing[0]}, which is no file; a relative path starts where the command was run"
        )
    return {name: Path(path) for name, path in files.items()}


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
