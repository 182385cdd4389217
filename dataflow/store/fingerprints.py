"""What a scorer's numbers are looked up by: its configuration, its version, its model files, and what it reads."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from poolsieve.dataflow.pools.files import PoolFiles
from poolsieve.dataflow.pools.hub_commits import Pins
from poolsieve.dataflow.recipes.compile import Facts
from poolsieve.dataflow.recipes.derived import DerivedRole, FromScore, NoRole, RoleSource, editors
from poolsieve.dataflow.recipes.program import Program, ScoreStep
from poolsieve.dataflow.store.artefacts import artefact_id, needs_artefact, on_hub, own_pools
from poolsieve.dataflow.store.settings import ScorerParts, StoredScorer, plain
from poolsieve.filters.dsl.edits import FunctionEditor
from poolsieve.scoring_models.base.config import JsonObject, digest
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.provenance import records
from poolsieve.scoring_models.base.scorer import Scorer, knows_facts
from poolsieve.scoring_models.hub.files import checked_sha256


def scorer_parts(program: Program, files: PoolFiles, pins: Pins) -> dict[str, ScorerParts]:
    """Name of each score step -> its parts, with the model files at hand, and its own pools at the commits of `pins`.

    Raises:
        PlanError: if a model file is missing.
    """
    hashes: dict[Path, str] = {}
    made: dict[str, ScorerParts] = {}
    for step in program.scorers:
        made[step.name] = _parts_of(step, files, hashes, made, pins)
    return made


Made = Mapping[str, ScorerParts]
"""Name of each earlier score step -> its parts."""


def _parts_of(step: ScoreStep, files: PoolFiles, hashes: dict[Path, str], made: Made, pins: Pins) -> ScorerParts:
    files_of = step.scorer.files()
    found = {name: _sha256(path, hashes) for name, path in files_of.items()}
    for number, editor in enumerate(editors(step.inputs)):
        read = editor.files() if isinstance(editor, FunctionEditor) else {}
        found |= {f"edit {number}: {name}": _sha256(path, hashes) for name, path in read.items()}
    pools = own_pools(step.scorer, pins)
    if needs_artefact(step.scorer):
        found["artefact"] = artefact_id(step.scorer, pools)
    facts = step.scorer.facts() if knows_facts(step.scorer) else {}
    known = {"training": records(files_of), "facts": facts, "pools": on_hub(pools)}
    return msgspec.structs.replace(_identity_of(step, files, found, made), **known)


def _identity_of(step: ScoreStep, files: PoolFiles, hashes: Mapping[str, str], made: Made) -> ScorerParts:
    return ScorerParts(
        name=step.name,
        scorer=step.scorer.to_dict(),
        version=step.scorer.version,
        sources={role: _source_of(found, files, made) for role, found in step.inputs.items()},
        files=dict(hashes),
        source=_function_hash(step),
    )


def _source_of(found: RoleSource, files: PoolFiles, made: Made) -> Any:
    """Where a role comes from, as JSON.

    The pool's source in its one spelling, an edit with its own sources, or a scorer's column with its fingerprint.
    """
    if isinstance(found, FromScore):
        return {"score": found.name.removeprefix(found.step), "fingerprint": made[found.step].fingerprint()}
    if isinstance(found, NoRole):
        return None
    if not isinstance(found, DerivedRole):
        return files.common_sources([found])[found]
    sources = {role: _source_of(source, files, made) for role, source in found.inputs.items()}
    return {"edit": found.editor.to_dict(), "version": found.editor.version, "sources": sources}


def _function_hash(step: ScoreStep) -> str | None:
    """Hash of a user's functions; None for our own scorers."""
    found = [_code_hash(made) for made in (step.scorer, *editors(step.inputs))]
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


def files_of(scorer: Scorer) -> dict[str, str]:
    """Name -> SHA-256 of each of a scorer's files, as they are now.

    Raises:
        PlanError: if one is missing or can't be read.
    """
    return {name: _sha256(path, {}) for name, path in scorer.files().items()}


def _sha256(path: Path, hashes: dict[Path, str]) -> str:
    """SHA-256 of a model file; files that several scorers of a recipe share are read once.

    Raises:
        PlanError: if it can't be read, or is not what the hub says it is.
    """
    if path not in hashes:
        try:
            hashes[path] = checked_sha256(path)
        except OSError as error:
            raise PlanError(f"can't read the model file {path}: {error}") from error
    return hashes[path]


def stored_parts(
    program: Program, files: PoolFiles, stored: Sequence[StoredScorer], preferred: Mapping[str, str]
) -> dict[str, ScorerParts]:
    """The same from what OUT keeps, without touching model files.

    Args:
        program: the recipe's.
        files: whose roles the scorers read.
        stored: every scorer in OUT.
        preferred: the fingerprints of the current manifest, taken where several would do.

    Raises:
        PlanError: if a scorer of the recipe was never run in OUT.
    """
    made: dict[str, ScorerParts] = {}
    for step in program.scorers:
        made[step.name] = _stored_parts(step, files, stored, preferred, made)
    return made


def _stored_parts(
    step: ScoreStep, files: PoolFiles, stored: Sequence[StoredScorer], preferred: Mapping[str, str], made: Made
) -> ScorerParts:
    wanted = _identity_of(step, files, {}, made)
    same = [found for found in stored if found.same_scorer(wanted)]
    if not same:
        raise PlanError(f"no scores of {step.name!r} as the recipe has it are stored; `poolsieve run` computes them")
    current = [found for found in same if found.fingerprint() == preferred.get(step.name)]
    if len(same) > 1 and not current:
        raise PlanError(
            f"scores of {step.name!r} from {len(same)} different model files are stored and the manifest names none of "
            "them; use `poolsieve run`, which hashes the model"
        )
    return (current or same)[0].parts()


def stored_facts(stored: Sequence[StoredScorer], preferred: Mapping[str, str]) -> Facts:
    """What the files of scorers said when they were run in OUT; `preferred` as in `stored_parts`."""

    def of(name: str, scorer: Scorer) -> JsonObject:
        mine = plain((name, scorer.to_dict(), scorer.version))
        same = [one for one in stored if plain((one.name, one.scorer, one.version)) == mine]
        current = [one for one in same if one.fingerprint() == preferred.get(name)]
        return next((dict(one.facts) for one in current or same), {})

    return of


def changed_functions(parts: Mapping[str, ScorerParts], stored: Sequence[StoredScorer]) -> tuple[str, ...]:
    """Warnings for users' functions whose code has changed though their version has not."""
    known = {(found.name, found.version): found for found in stored}
    out = []
    for name, mine in parts.items():
        found = known.get((name, mine.version))
        if found and mine.source and found.source not in (None, mine.source) and found.scorer == mine.scorer:
            out.append(
                f"the code of scorer {name!r} has changed but its version is still {mine.version}: stored scores are "
                f"used. Say version={mine.version + 1} in scorer(...) to score anew"
            )
    return tuple(out)
