"""What a model's folder says of how the model was made: `training.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.packages import package_versions
from poolsieve.scoring_models.hub.files import sha256_of

PACKAGES = ("accelerate", "safetensors", "tokenizers", "torch", "transformers")
"""What a training depends on."""


def hashes(files: dict[str, Path]) -> dict[str, str]:
    """Name -> SHA-256."""
    return {name: sha256_of(path) for name, path in sorted(files.items())}


class _Packages:
    packages = PACKAGES


def versions() -> dict[str, str]:
    """Versions of Python, poolsieve and what trains."""
    return package_versions([_Packages])


def machine(device: str, precision: str) -> JsonObject:
    """On what the training ran: the same machine gives the same weights."""
    import torch

    found: JsonObject = {"device": device, "precision": precision}
    if device == "cuda":
        return {**found, "name": torch.cuda.get_device_name(0)}
    return {**found, "threads": torch.get_num_threads()}


def about_model(model: Any) -> JsonObject:
    """Class and size of a model."""
    return {"class": type(model).__name__, "parameters": sum(one.numel() for one in model.parameters())}
