"""Celadon's files in the published layout, and the network that they are for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.hub.checkpoints import CONFIG, WEIGHTS, checkpoint_files
from poolsieve.scoring_models.hub.files import read_json

MODEL_TYPE = "deberta-v2"


def model_files(model: str, revision: str | None) -> dict[str, Path]:
    """Configuration, weights and tokenizer files of a folder or Hub repository, by name.

    Raises:
        PlanError: if one is missing or the configuration is another model's.
    """
    found = checkpoint_files(model, revision, "Celadon")
    kind = read_json(found[CONFIG]).get("model_type")
    if kind != MODEL_TYPE:
        raise PlanError(
            f"{model} is a {kind!r} model; the published layout of Celadon is {MODEL_TYPE!r} with deberta.* and heads.*"
        )
    return found


def load_model(files: Mapping[str, Path], heads: int, classes: int) -> Any:
    """The network with its weights, in evaluation mode; its forward gives logits (batch, heads, classes).

    Raises:
        PlanError: if the weights do not fit.
    """
    import torch
    from transformers import DebertaV2Config, DebertaV2Model

    class Network(torch.nn.Module):  # type: ignore[misc]
        """The encoder, and a linear layer for each category on its first position."""

        def __init__(self, config: Any) -> None:
            super().__init__()
            self.deberta = DebertaV2Model(config)
            self.heads = torch.nn.ModuleList(torch.nn.Linear(config.hidden_size, classes) for _ in range(heads))

        def forward(self, ids: Any, mask: Any) -> Any:
            first = self.deberta(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
            return torch.stack([head(first) for head in self.heads], dim=1)

    network = Network(DebertaV2Config(**read_json(files[CONFIG])))
    path = next(files[name] for name in WEIGHTS if name in files)
    try:
        network.load_state_dict(_state(path, torch))
    except RuntimeError as error:
        raise PlanError(f"{path} does not hold Celadon's weights: {' '.join(str(error).split())[:400]}") from error
    return network.eval()


def _state(path: Path, torch: Any) -> Any:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise PlanError(f"can't read the weights {path}: {error}") from error
    return {name: value for name, value in state.items() if not name.endswith("position_ids")}
