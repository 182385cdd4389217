"""What a model's files say of how the model was made: a record beside them, which runs that use the model carry on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from poolsieve.scoring_models.base.config import JsonObject

TRAINING = "training.json"
"""The record in a model's folder; beside a model of one file it is `<name>.training.json`."""

MOST_BYTES = 1 << 20
"""A longer one is not ours."""


def record_path(model: str | os.PathLike[str]) -> Path:
    """Where the record of a model of one file stands."""
    path = Path(model)
    return path.with_name(f"{path.name}.{TRAINING}")


def records(files: Mapping[str, Path]) -> JsonObject:
    """Records of how the models were made to which these files belong: name of the record -> what it says.

    The name is that of the file with the last part replaced, as the scorer has it (`prior/training.json`). A model
    without a record, or with one that is no JSON object, has none here: nothing depends on it.

    Args:
        files: as `Scorer.files` gives them.
    """
    found = {}
    for name, path in sorted(files.items()):
        beside = {str(PurePosixPath(name).parent / TRAINING): path.with_name(TRAINING)}
        for key, place in {**beside, f"{name}.{TRAINING}": record_path(path)}.items():
            said = None if key in found else _read(place)
            if said is not None:
                found[key] = said
    return found


def _read(path: Path) -> JsonObject | None:
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
