"""What a scorer's numbers are looked up by: its configuration, its version, its model files, and what it reads."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.recipes.derived import DerivedRole, RoleSource, editors
from poolsieve.dataflow.recipes.program import Program, ScoreStep
from poolsieve.dataflow.store.artefacts import artefact_id, needs_artefact
from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.base.errors import PlanError

Parts = dict[str, Any]


def parts_of(step: ScoreStep, files: PoolFiles) -> Parts:
    """Everything that a step's fingerprint is made from.

    Raises:
        PlanError: if a model file is missing.
    """
    hashes = {name: sha256(path) for name, path in step.scorer.files().items()}
    if needs_artefact(step.scorer):
        hashes["artefact"] = artefact_id(step.scorer)
    return {**identity_of(step, files), "files": hashes}


def identity_of(step: ScoreStep, files: PoolFiles) -> Parts:
    """The parts that need no model files: what `decide` finds stored scores by when the model may be gone."""
    sources = {role: source_of(found, files) for role, found in step.inputs.items()}
    return {"name": step.name, "scorer": step.scorer.to_dict(), "version": step.scorer.version, "sources": sources}


def source_of(found: RoleSource, files: PoolFiles) -> Any:
    """Where a role comes from, as JSON: the pool's source in its one spelling, or an edit with its own sources."""
    if not isinstance(found, DerivedRole):
        return files.sources([found])[found]
    sources = {role: source_of(source, files) for role, source in found.inputs.items()}
    return {"edit": found.editor.to_dict(), "version": found.editor.version, "sources": sources}


def fingerprint(parts: Parts) -> str:
    """Hexadecimal hash of the parts. The name is left out, so that it stands in the folder's name only."""
    return digest({key: parts[key] for key in ("scorer", "version", "sources", "files")}, 8)


def source_hash(step: ScoreStep) -> str | None:
    """Hash of a user's functions, to warn when one changed and its version did not; None for our own scorers."""
    found = [_code_hash(made) for made in (step.scorer, *editors(step.inputs))]
    found = [code for code in found if code]
    return "+".join(code for code in found if code) or None


def _code_hash(made: Any) -> str | None:
    function = getattr(made, "fn", None)
    code = getattr(function, "__code__", None)
    if function is None or code is None:
        return None
    try:
        return digest(inspect.getsource(function), 8)
    except (OSError, TypeError):
        return digest([code.co_code.hex(), [repr(c) for c in code.co_consts], list(code.co_names)], 8)


_hashes: dict[tuple[str, int, int], str] = {}


def sha256(path: Path) -> str:
    """SHA-256 of a model file, remembered by path, size and mtime within one process."""
    try:
        info = path.stat()
        key = (str(path), info.st_size, info.st_mtime_ns)
        if key not in _hashes:
            with path.open("rb") as file:
                _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return _hashes[key]
    except OSError as error:
        raise PlanError(f"can't read the model file {path}: {error}") from error


def fingerprints(program: Program, files: PoolFiles) -> tuple[dict[str, str], dict[str, Parts]]:
    """(step name -> fingerprint, step name -> parts) with the model files at hand."""
    parts = {step.name: parts_of(step, files) for step in program.scorers}
    return {name: fingerprint(found) for name, found in parts.items()}, parts


def stored_fingerprints(
    program: Program, files: PoolFiles, stored: Sequence[Mapping[str, Any]], preferred: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, Parts]]:
    """The same from what OUT keeps, without touching model files.

    Args:
        program: the recipe's.
        files: whose roles the scorers read.
        stored: `scorer.json` of every scorer in OUT.
        preferred: the fingerprints of the current manifest, taken where several would do.

    Raises:
        PlanError: if a scorer of the recipe was never run in OUT.
    """
    made = {step.name: _stored_parts(step, files, stored, preferred) for step in program.scorers}
    return {name: fingerprint(parts) for name, parts in made.items()}, made


def _stored_parts(
    step: ScoreStep, files: PoolFiles, stored: Sequence[Mapping[str, Any]], preferred: Mapping[str, str]
) -> Parts:
    wanted = identity_of(step, files)
    same = [found for found in stored if all(found.get(key) == wanted[key] for key in wanted)]
    if not same:
        raise PlanError(f"no scores of {step.name!r} as the recipe has it are stored; `poolsieve run` computes them")
    current = [found for found in same if fingerprint(_parts(found)) == preferred.get(step.name)]
    if len(same) > 1 and not current:
        raise PlanError(
            f"scores of {step.name!r} from {len(same)} different model files are stored and the manifest names none of "
            "them; use `poolsieve run`, which hashes the model"
        )
    return _parts((current or same)[0])


def _parts(found: Mapping[str, Any]) -> Parts:
    return {key: found[key] for key in ("name", "scorer", "version", "sources", "files")}
