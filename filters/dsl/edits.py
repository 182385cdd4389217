"""Edits: a role derived from others, such as a cleaned text, which later stages read instead of the pool's own.

An edit never changes the pool and never drops a row. What it makes is not stored: it is computed again wherever a
scorer (or an export that asks for it) needs it, and its fingerprint is part of those scores' fingerprints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from poolsieve.filters.dsl.stages import Stage
from poolsieve.scoring_models.base.config import Config, JsonObject
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.functions import declared_files, existing, roles_read, top_level_name


@runtime_checkable
class Editor(Protocol):
    """Batch -> a text for each row. The value of a row depends on that row alone."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The roles, or earlier scores, whose values `edit` finds as columns of its batch."""
        ...

    @property
    def version(self) -> int:
        """Bumped by hand whenever the same input would give another text."""
        ...

    def to_dict(self) -> JsonObject:
        """The configuration, as plain JSON values."""
        ...

    def edit(self, batch: pa.RecordBatch) -> pa.Array:
        """A string array of the batch's length; null for null."""
        ...


@dataclass(frozen=True, eq=False)
class FunctionEditor(Config):
    """A user's own function as an editor; made by `editor(...)`."""

    fn: Callable[..., Any] = field(metadata={"runtime": True})
    reads: tuple[str, ...]
    version: int = 1
    name: str = ""
    read_files: Mapping[str, str] = field(default_factory=dict, metadata={"runtime": True})
    """Name -> path of each file that the function reads."""

    def files(self) -> Mapping[str, Path]:
        """The files that the function reads; see `scorer(...)`.

        Raises:
            PlanError: if one is missing.
        """
        return existing(self.read_files, f"editor({self.name})")

    def edit(self, batch: pa.RecordBatch) -> pa.Array:
        """Calls the function with one array for each role that it reads."""
        made = self.fn(*(batch.column(role) for role in self.reads))
        values = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
        array = values.cast(pa.string()) if isinstance(values, pa.Array) else pa.array(values, pa.string())
        if len(array) != batch.num_rows:
            raise PoolsieveError(f"{self.name} returned {len(array)} texts for {batch.num_rows} rows")
        return array


def editor(
    fn: Callable[..., Any], *, reads: Sequence[str] = ("text",), version: int = 1, files: Sequence[str] = ()
) -> FunctionEditor:
    """Makes an editor of a plain function of Arrow arrays: `editor(strip_tags, reads=("text",), version=2)`.

    Raise `version` whenever the function gives other texts: scores of edited texts are looked up by it. `files`
    are those that the function reads, as in `scorer(...)`.

    >>> import pyarrow.compute as pc
    >>> def quiet(text):
    ...     return pc.utf8_lower(text)
    >>> editor(quiet, version=2).edit(pa.record_batch({"text": ["A Title", None]})).to_pylist()
    ['a title', None]

    Raises:
        PlanError: for a lambda or a nested function, which can't be sent to a worker.
    """
    name = top_level_name(fn, "editor")
    roles = roles_read(reads, version, f"editor({name})")
    return FunctionEditor(fn, roles, version, name, declared_files(files, f"editor({name})"))


@dataclass(frozen=True, eq=False, init=False)
class Edit(Stage):
    """Derives roles: `Edit(text=clean)`. Later stages that read `text` read what `clean` made of it.

    `pool.text` goes on naming the pool's own value. What statistics store of an edited role is called
    `text.edited.word_count` (`text.edited2...` after a second edit), so that both can stand in one ledger. A new name,
    as in `Edit(title=editor(first_line, reads=("text",)))`, adds a role.

    >>> def title(text):
    ...     return [None if value is None else value.split("\\n")[0] for value in text.to_pylist()]
    >>> stage = Edit(title=editor(title, reads=("text",)))
    >>> {role: made.reads for role, made in stage.editors.items()}
    {'title': ('text',)}
    """

    editors: Mapping[str, Editor]

    def __init__(self, **editors: Editor | Callable[..., Any]) -> None:
        if not editors:
            raise PlanError("Edit() needs at least one role, as Edit(text=clean)")
        object.__setattr__(self, "editors", {role: _as_editor(role, given) for role, given in editors.items()})


def _as_editor(role: str, given: Any) -> Editor:
    if isinstance(given, Editor):
        if isinstance(given, type):
            raise PlanError(f"Edit({role}={given.__name__}) takes an editor: call it, as {given.__name__}()")
        return given
    if not callable(given):
        raise PlanError(f"Edit({role}=...) takes a function or an editor, not {given!r}")
    return editor(given, reads=(role,))
