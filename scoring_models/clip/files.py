"""Where a CLIP model's files are: hub, folder, registry tag or weights file. No torch in here.

Two layouts of a folder are known: open_clip's own (`open_clip_config.json` and weights) and that of `transformers`
(`config.json`, `preprocessor_config.json` and weights). A hub repository is a folder once its files are in the cache.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.hub.cache import fetch
from poolsieve.scoring_models.hub.files import check_tokenizer, read_json, refuse_code

OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
TRANSFORMERS_CONFIG = "config.json"
TRANSFORMERS_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
OPTIONAL = ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")

CONFIGS = ("preprocessor_config.json", "tokenizer_config.json")
"""Those of `OPTIONAL` that could ask for code."""

HUB, LOCAL = "hf-hub:", "local-dir:"


def folder_of(model: str, revision: str | None) -> Path:
    """The local folder of a `hf-hub:` or `local-dir:` model; downloads what the hub's cache has not.

    Raises:
        PlanError: when there is no such folder or repository, or it holds no CLIP model.
    """
    if model.startswith(LOCAL):
        folder = Path(model.removeprefix(LOCAL))
        if not folder.is_dir():
            raise PlanError(f"no model folder {folder}")
        return folder
    return _snapshot(model.removeprefix(HUB), revision)


def _snapshot(repository: str, revision: str | None) -> Path:
    config = fetch(repository, revision, OPEN_CLIP_CONFIG) or fetch(repository, revision, TRANSFORMERS_CONFIG)
    if config is None:
        raise PlanError(
            f"hf-hub:{repository} has neither {OPEN_CLIP_CONFIG} nor {TRANSFORMERS_CONFIG}: is it a CLIP model?"
        )
    weights = OPEN_CLIP_WEIGHTS if config.name == OPEN_CLIP_CONFIG else TRANSFORMERS_WEIGHTS
    if not any(fetch(repository, revision, name) for name in weights):
        raise PlanError(f"hf-hub:{repository} has none of the weights {', '.join(weights)}")
    for name in OPTIONAL:
        fetch(repository, revision, name)
    return config.parent


def layout_of(folder: Path) -> tuple[Path, Path]:
    """(config file, weights file) of a model folder, in open_clip's layout if it has both.

    Raises:
        PlanError: if it holds no model.
    """
    for config, weights in ((OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS), (TRANSFORMERS_CONFIG, TRANSFORMERS_WEIGHTS)):
        found = [folder / name for name in weights if (folder / name).is_file()]
        if (folder / config).is_file() and found:
            return folder / config, found[0]
    raise PlanError(
        f"{folder} holds no CLIP model: expected {OPEN_CLIP_CONFIG} with {OPEN_CLIP_WEIGHTS[0]}, or "
        f"{TRANSFORMERS_CONFIG} with {TRANSFORMERS_WEIGHTS[0]}"
    )


def folder_files(folder: Path) -> dict[str, Path]:
    """Every file of a model folder that scores depend on, by its name."""
    config, weights = layout_of(folder)
    extra = {name: folder / name for name in OPTIONAL if (folder / name).is_file()}
    refuse_code([config, *(path for name, path in extra.items() if name in CONFIGS)])
    if "tokenizer.json" in extra:
        check_tokenizer(extra["tokenizer.json"])
    return {config.name: config, weights.name: weights, **extra}


def registry_config(arch: str) -> JsonObject:
    """open_clip's configuration of an architecture.

    Raises:
        PlanError: for an unknown one, with the nearest names.
    """
    spec = importlib.util.find_spec("open_clip")
    folder = Path(spec.origin).parent / "model_configs" if spec is not None and spec.origin is not None else Path()
    if not (folder / f"{arch}.json").is_file():
        known = sorted(path.stem for path in folder.glob("*.json"))
        raise unknown_name(f"open_clip knows no architecture {arch!r}", arch, known)
    return read_json(folder / f"{arch}.json")


def tag_config(arch: str, tag: str) -> JsonObject:
    """open_clip's entry for published weights, after the check that its QuickGELU is the architecture's.

    Raises:
        PlanError: for an unknown tag, and for an architecture that would compute wrong scores with these weights.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    entry: JsonObject = get_pretrained_cfg(arch, tag)
    if not entry:
        known = ", ".join(list_pretrained_tags_by_model(arch)) or "none"
        raise PlanError(f"open_clip has no weights {tag!r} for {arch} and there is no such file; it has {known}")
    wants, has = bool(entry.get("quick_gelu", False)), bool(registry_config(arch).get("quick_gelu", False))
    if wants != has:
        right = f"{arch}-quickgelu" if wants else arch.removesuffix("-quickgelu")
        raise PlanError(
            f"QuickGELU mismatch: {tag!r} was trained {'with' if wants else 'without'} QuickGELU and {arch} is "
            f"{'with' if has else 'without'}; scores would be wrong. Use ({right!r}, {tag!r})"
        )
    return entry


def tag_file(arch: str, tag: str) -> Path:
    """The weights of a tag in the hub's cache: the file that open_clip itself would take.

    Raises:
        PlanError: if they can't be had.
    """
    repository, _, file = str(tag_config(arch, tag).get("hf_hub") or "").rpartition("/")
    if not repository:
        raise PlanError(
            f"open_clip has the weights {tag!r} of {arch} not from the hub: download them, and give ({arch!r}, FILE)"
        )
    # As `open_clip.pretrained.download_pretrained_from_hf` has it: safetensors first, these names where none is given.
    names = (f"{file.rpartition('.')[0]}.safetensors", file) if file else (OPEN_CLIP_WEIGHTS[0], OPEN_CLIP_WEIGHTS[2])
    found = next((path for name in names if (path := fetch(repository, None, name)) is not None), None)
    if found is None:
        raise PlanError(
            f"hf-hub:{repository}, which holds the weights {tag!r} of {arch}, has none of {', '.join(names)}"
        )
    return found


def embedding_size(config: JsonObject) -> int:
    """Length of the embeddings, from either layout's configuration."""
    inner = config.get("model_cfg", config)
    return int(inner.get("embed_dim") or inner.get("projection_dim") or 512)
