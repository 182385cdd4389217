"""Loads a CLIP model into open_clip's modules, from either layout. Imports torch."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from open_clip.factory import load_state_dict
from open_clip.transform import PreprocessCfg, image_transform_v2

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.clip.files import OPEN_CLIP_CONFIG, folder_of, layout_of, tag_config, tag_file
from poolsieve.scoring_models.hub.files import read_json

OPENAI_VOCABULARY = 49408
"""Size of the byte-pair vocabulary of OpenAI's CLIP, which open_clip's own tokenizer has."""


class Parts(NamedTuple):
    """A loaded model: module, image transform, tokenizer, context length, and the transform's settings."""

    model: torch.nn.Module
    transform: Any
    tokenizer: Any
    context: int
    preprocessing: JsonObject


def load_parts(model: str | tuple[str, str], revision: str | None) -> Parts:
    """Loads a model by any of the forms that `Clip` takes; float32, on the CPU, in eval mode.

    Raises:
        PlanError: for a QuickGELU mismatch, and for weights that are not those of the configuration.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="QuickGELU mismatch")
        try:
            if isinstance(model, tuple):
                return _from_registry(*model)
            folder = folder_of(model, revision)
            own = layout_of(folder)[0].name == OPEN_CLIP_CONFIG
            return _from_open_clip(f"local-dir:{folder}") if own else _from_transformers(folder)
        except PlanError:
            raise
        except Exception as error:  # open_clip, safetensors and torch each have their own classes for a bad file
            raise PlanError(f"can't load the CLIP model {model!r}: {error}") from error


def _from_registry(arch: str, weights: str) -> Parts:
    if Path(weights).is_file():
        return _from_open_clip(arch, pretrained=weights)
    # By file and not by tag, for which open_clip would ask the hub by itself.
    return _from_open_clip(
        arch, pretrained=str(tag_file(arch, weights)), **tag_preprocessing(tag_config(arch, weights))
    )


def tag_preprocessing(entry: JsonObject) -> JsonObject:
    """How images are prepared for a tag's weights, as open_clip's factory takes it beside a file."""
    return {f"image_{key}": entry[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in entry}


def _from_open_clip(name: str, **how: Any) -> Parts:
    model, _, transform = open_clip.create_model_and_transforms(name, precision="fp32", device="cpu", **how)
    tokenizer = open_clip.get_tokenizer(name)
    return _parts(model, transform, tokenizer, dict(open_clip.get_model_preprocess_cfg(model)))


def _parts(model: Any, transform: Any, tokenizer: Any, preprocessing: JsonObject) -> Parts:
    context = int(getattr(model, "context_length", 0) or getattr(tokenizer, "context_length", 77))
    return Parts(model.eval(), transform, tokenizer, context, dict(preprocessing))


def _from_transformers(folder: Path) -> Parts:
    from transformers import CLIPConfig

    config = CLIPConfig.from_pretrained(str(folder))
    model = open_clip.CLIP(**_model_config(config))
    model.load_state_dict(convert(load_state_dict(str(layout_of(folder)[1])), model), strict=True)
    preprocessing = _preprocessing(folder, config.vision_config.image_size)
    transform = image_transform_v2(PreprocessCfg(**preprocessing), is_train=False)
    return _parts(model, transform, _tokenizer(folder, config.text_config), preprocessing)


def _tokenizer(folder: Path, text: Any) -> Any:
    """open_clip's tokenizer where the vocabulary is OpenAI's, so that both layouts of a model read captions alike."""
    context = int(text.max_position_embeddings)
    if text.vocab_size == OPENAI_VOCABULARY:
        return open_clip.SimpleTokenizer(context_length=context)
    return open_clip.HFTokenizer(str(folder), context_length=context)


def _model_config(config: Any) -> JsonObject:
    vision, text = config.vision_config, config.text_config
    return {
        "embed_dim": config.projection_dim,
        "vision_cfg": {
            "image_size": vision.image_size,
            "layers": vision.num_hidden_layers,
            "width": vision.hidden_size,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "patch_size": vision.patch_size,
            "mlp_ratio": vision.intermediate_size / vision.hidden_size,
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "layers": text.num_hidden_layers,
            "mlp_ratio": text.intermediate_size / text.hidden_size,
        },
        "quick_gelu": vision.hidden_act == "quick_gelu",
    }


def _preprocessing(folder: Path, image_size: int) -> JsonObject:
    """open_clip's description of what `preprocessor_config.json` (CLIPImageProcessor) asks for."""
    path = folder / "preprocessor_config.json"
    given = read_json(path) if path.is_file() else {}
    size = given.get("size", {"shortest_edge": image_size})
    squash = isinstance(size, dict) and "shortest_edge" not in size and not given.get("do_center_crop", True)
    default = dataclasses.asdict(PreprocessCfg())
    return {
        **default,
        "size": image_size,
        "mean": tuple(given.get("image_mean", default["mean"])),
        "std": tuple(given.get("image_std", default["std"])),
        "interpolation": {2: "bilinear", 3: "bicubic"}.get(int(given.get("resample", 3)), "bicubic"),
        "resize_mode": "squash" if squash else "shortest",
    }


_BLOCK = {
    "layer_norm1.weight": "ln_1.weight",
    "layer_norm1.bias": "ln_1.bias",
    "layer_norm2.weight": "ln_2.weight",
    "layer_norm2.bias": "ln_2.bias",
    "mlp.fc1.weight": "mlp.c_fc.weight",
    "mlp.fc1.bias": "mlp.c_fc.bias",
    "mlp.fc2.weight": "mlp.c_proj.weight",
    "mlp.fc2.bias": "mlp.c_proj.bias",
    "self_attn.out_proj.weight": "attn.out_proj.weight",
    "self_attn.out_proj.bias": "attn.out_proj.bias",
}

_OUTER = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}


def convert(state: Mapping[str, torch.Tensor], model: Any) -> dict[str, torch.Tensor]:
    """Weights of `transformers.CLIPModel` under the names and in the shapes of `open_clip.CLIP`.

    Raises:
        KeyError: if the weights are not those of a CLIPModel.
    """
    out = {new: state[old] for old, new in _OUTER.items()}
    out["visual.proj"] = state["visual_projection.weight"].T
    out["text_projection"] = state["text_projection.weight"].T
    out["logit_scale"] = state["logit_scale"].reshape(model.logit_scale.shape)
    for old, new, blocks in (
        ("vision_model", "visual.transformer", model.visual.transformer.resblocks),
        ("text_model", "transformer", model.transformer.resblocks),
    ):
        for i in range(len(blocks)):
            out.update(_block(state, f"{old}.encoder.layers.{i}.", f"{new}.resblocks.{i}."))
    return {name: tensor.float().contiguous() for name, tensor in out.items()}


def _block(state: Mapping[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    out = {new + b: state[old + a] for a, b in _BLOCK.items()}
    for kind in ("weight", "bias"):
        parts = [state[f"{old}self_attn.{name}_proj.{kind}"] for name in "qkv"]
        out[f"{new}attn.in_proj_{kind}"] = torch.cat(parts)
    return out
