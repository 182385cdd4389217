"""CLIP against open_clip itself, on tiny real models in every form that can be loaded without a network."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from poolsieve.scoring_models import Clip
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.feeding.driver import score_rows
from tests.forked import TORCH
from tests.hub import Hub
from tests.scoring_models.clip.tiny_clip import DIM, MODEL, PREPROCESS, SIDE, image_bytes, make, pairs

open_clip = pytest.importorskip("open_clip")
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def converted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as transformers saves them."""
    from safetensors.torch import load_file
    from transformers import CLIPConfig, CLIPModel

    vision, text = MODEL["vision_cfg"], MODEL["text_cfg"]
    common = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 128, "hidden_act": "quick_gelu"}
    config = CLIPConfig(
        projection_dim=DIM,
        vision_config={
            **common,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": vision["patch_size"],
            "projection_dim": DIM,
        },
        text_config={
            **common,
            "num_attention_heads": 2,
            "vocab_size": 49408,
            "max_position_embeddings": text["context_length"],
            "projection_dim": DIM,
        },
    )
    model = CLIPModel(config)
    model.load_state_dict(
        to_transformers(load_file(folder / "open_clip_model.safetensors"), model.state_dict()), strict=True
    )
    path = tmp_path_factory.mktemp("transformers")
    model.save_pretrained(path)
    processor = {
        "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE},
        "do_center_crop": True,
        "resample": 3,
        "image_mean": PREPROCESS["mean"],
        "image_std": PREPROCESS["std"],
    }
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return path


def to_transformers(state: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """open_clip's weights under transformers' names, written down independently of the loader under test."""
    out = {}
    for name, like in wanted.items():
        if name.endswith("position_ids"):
            out[name] = like
            continue
        tower = "visual." if name.startswith("vision") else ""
        if ".layers." in name:
            number, rest = name.split(".layers.")[1].split(".", 1)
            block = f"{tower}transformer.resblocks.{number}."
            if "self_attn" in rest and "out_proj" not in rest:
                which = "qkv".index(rest.split(".")[1][0])
                packed = state[block + "attn.in_proj_" + rest.rsplit(".", 1)[1]]
                out[name] = packed.chunk(3)[which].clone()
            else:
                for old, new in (
                    ("self_attn", "attn"),
                    ("layer_norm", "ln_"),
                    ("mlp.fc1", "mlp.c_fc"),
                    ("mlp.fc2", "mlp.c_proj"),
                ):
                    rest = rest.replace(old, new)
                out[name] = state[block + rest]
            continue
        out[name] = {
            "logit_scale": lambda: state["logit_scale"],
            "visual_projection.weight": lambda: state["visual.proj"].T.contiguous(),
            "text_projection.weight": lambda: state["text_projection"].T.contiguous(),
            "vision_model.embeddings.class_embedding": lambda: state["visual.class_embedding"],
            "vision_model.embeddings.patch_embedding.weight": lambda: state["visual.conv1.weight"],
            "vision_model.embeddings.position_embedding.weight": lambda: state["visual.positional_embedding"],
            "vision_model.pre_layrnorm.weight": lambda: state["visual.ln_pre.weight"],
            "vision_model.pre_layrnorm.bias": lambda: state["visual.ln_pre.bias"],
            "vision_model.post_layernorm.weight": lambda: state["visual.ln_post.weight"],
            "vision_model.post_layernorm.bias": lambda: state["visual.ln_post.bias"],
            "text_model.embeddings.token_embedding.weight": lambda: state["token_embedding.weight"],
            "text_model.embeddings.position_embedding.weight": lambda: state["positional_embedding"],
            "text_model.final_layer_norm.weight": lambda: state["ln_final.weight"],
            "text_model.final_layer_norm.bias": lambda: state["ln_final.bias"],
        }[name]()
    return out


def reference(folder: Path, batch: pa.RecordBatch) -> list[float]:
    """One pair at a time, as open_clip's README does it."""
    name = f"local-dir:{folder}"
    model, _, transform = open_clip.create_model_and_transforms(name)
    tokenizer = open_clip.get_tokenizer(name)
    model.eval()
    out = []
    for image, text in zip(batch.column("image").to_pylist(), batch.column("text").to_pylist(), strict=True):
        with torch.inference_mode():
            i = model.encode_image(transform(Image.open(io.BytesIO(image)))[None], normalize=True)
            t = model.encode_text(tokenizer([text]), normalize=True)
        out.append(float((i * t).sum()))
    return out


def scores(config: Clip, batch: pa.RecordBatch, threads: int = 2, loaded: Any = None) -> Any:
    return score_rows(loaded or config.load(), batch, config.columns, threads=threads)


def test_scores_are_open_clips_in_both_layouts(folder: Path, converted: Path) -> None:
    batch = pairs()
    expected = reference(folder, batch)
    assert max(expected) - min(expected) > 0.05
    for model in (f"local-dir:{folder}", f"local-dir:{converted}"):
        made = scores(Clip(model, batch_size=4), batch)
        assert made.errors == {}
        assert made.columns[""].to_pylist() == pytest.approx(expected, abs=1e-6)
    a, b = (scores(Clip(f"local-dir:{m}"), batch).columns[""] for m in (folder, converted))
    assert a.equals(b)


def test_a_rows_score_depends_on_the_row_alone(folder: Path) -> None:
    config = Clip(f"local-dir:{folder}", batch_size=4)
    loaded, batch = config.load(), pairs(13)
    whole = scores(config, batch, loaded=loaded).columns[""].to_numpy()
    order = np.random.default_rng(3).permutation(13)
    mixed = scores(config, batch.take(pa.array(order)), threads=1, loaded=loaded).columns[""].to_numpy()
    assert np.array_equal(whole[order], mixed)
    for rows in ([5], [12, 0], list(range(0, 13, 3))):
        part = scores(config, batch.take(pa.array(rows)), threads=3, loaded=loaded).columns[""].to_numpy()
        assert np.array_equal(whole[rows], part)


def test_what_can_not_be_read_costs_its_row(folder: Path) -> None:
    batch = pairs(6)
    images: list[bytes | None] = batch.column("image").to_pylist()
    images[1], images[2], images[3] = b"nonsense", None, image_bytes(9)[:400]
    texts = batch.column("text").to_pylist()
    texts[4] = None
    broken = pa.record_batch({"image": pa.array(images, pa.binary()), "text": texts})
    config = Clip(f"local-dir:{folder}", batch_size=4)
    whole, made = scores(config, batch).columns[""].to_pylist(), scores(config, broken)
    assert made.columns[""].to_pylist() == [whole[0], None, None, None, None, whole[5]]
    assert {i: e.kind for i, e in made.errors.items()} == {1: "image_decode", 3: "image_decode"}


def test_embeddings_are_stored_beside_the_score(folder: Path, converted: Path) -> None:
    for model in (folder, converted):
        config = Clip(f"local-dir:{model}", embeddings=True, batch_size=4)
        made = scores(config, pairs(5))
        image, text = (made.columns[name] for name in ("image_embedding", "text_embedding"))
        assert image.type == text.type == pa.list_(pa.float16(), DIM)
        x, y = (np.stack([np.array(v, np.float32) for v in a.to_pylist()]) for a in (image, text))
        assert np.allclose(np.linalg.norm(x, axis=1), 1, atol=2e-3)
        assert np.allclose((x * y).sum(1), made.columns[""].to_numpy(), atol=3e-3)


def test_bf16_is_close(folder: Path) -> None:
    exact = scores(Clip(f"local-dir:{folder}"), pairs()).columns[""].to_numpy()
    fast = scores(Clip(f"local-dir:{folder}", precision="bf16"), pairs()).columns[""].to_numpy()
    assert np.abs(exact - fast).max() < 0.03


def test_settings_say_what_scores_depend_on(folder: Path) -> None:
    found = Clip(f"local-dir:{folder}", device="cpu", batch_size=8).load().settings
    assert found["shape"] == [8, 20]
    assert (found["dtype"], found["threads"], found["device"]) == ("fp32", 1, "cpu")
    assert "Resize" in found["preprocessing"]


def test_files_and_fingerprints_do_not_depend_on_the_place(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, copy)
    assert Clip(f"local-dir:{copy}").to_dict() == Clip(f"local-dir:{folder}").to_dict()
    assert set(Clip(f"local-dir:{copy}").files()) == {"open_clip_config.json", "open_clip_model.safetensors"}


def test_quickgelu_mismatch_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(PlanError, match=r"ViT-B-16-quickgelu.*dfn2b"):
        Clip(("ViT-B-16", "dfn2b")).files()


def test_wrong_models_are_refused(folder: Path, tmp_path: Path) -> None:
    wrong = {
        "no model folder": Clip("local-dir:/nowhere"),
        "Did you mean .ViT-B-32": Clip(("ViT-B-3", "openai")),
        "no weights 'dfn7b'": Clip(("ViT-B-32", "dfn7b")),
        "holds no CLIP model": Clip(f"local-dir:{tmp_path}"),
    }
    for message, config in wrong.items():
        with pytest.raises(PlanError, match=message):
            config.files()
    for model in ("ViT-B-32", 3, ("a", "b", "c")):
        with pytest.raises(PlanError, match="expected 'hf-hub:"):
            Clip(model)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="fp32, bf16, fp16"):
        Clip("hf-hub:a/b", precision="int8")


@pytest.mark.parametrize("damage", ["nonsense", "cut", "other shapes"])
def test_damaged_weights_are_refused(folder: Path, tmp_path: Path, damage: str) -> None:
    import shutil

    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    weights = copy / "open_clip_model.safetensors"
    if damage == "nonsense":
        weights.write_bytes(b"nonsense" * 100)
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:5000])
    else:
        config = {"model_cfg": {**MODEL, "embed_dim": 8}, "preprocess_cfg": PREPROCESS}
        (copy / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(PlanError, match="can't load the CLIP model"):
        Clip(f"local-dir:{copy}").load()


@pytest.fixture
def hub(folder: Path, converted: Path) -> Iterator[Hub]:
    made = Hub({"own/layout": folder, "their/layout": converted}, TORCH)
    yield made
    made.stop()


HUB_CODE = """
import sys
from poolsieve.scoring_models import Clip
for name in ("own/layout", "their/layout"):
    print(sorted(Clip("hf-hub:" + name).files()))
    Clip("hf-hub:" + name).load()
"""


def test_hub_repositories_in_both_layouts_and_offline_afterwards(hub: Hub, tmp_path: Path) -> None:
    first = hub.run(HUB_CODE, tmp_path / "hf")
    assert first.returncode == 0, first.stderr[-1500:]
    assert "open_clip_config.json" in first.stdout
    assert "preprocessor_config.json" in first.stdout
    hub.counts.clear()
    second = hub.run(HUB_CODE, tmp_path / "hf", HF_HUB_OFFLINE="1")
    assert second.returncode == 0, second.stderr[-1500:]
    assert second.stdout == first.stdout
    assert not hub.counts


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["mine.Tokenizer", None]}}, "never run"),
        ("open_clip_config.json", {"text_cfg": {"tokenizer_kwargs": {"trust_remote_code": True}}}, "never run"),
        ("tokenizer.json", {"model": {"type": "Magic"}}, "is no tokenizer"),
        ("preprocessor_config.json", [1], "expected an object"),
    ],
)
def test_a_folder_that_asks_for_code_or_has_broken_files_is_refused(
    name: str, text: Any, message: str, folder: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "model"))
    (copied / name).write_text(json.dumps(text))
    with pytest.raises(PlanError, match=message) as caught:
        Clip(f"local-dir:{copied}").files()
    assert str(copied / name) in str(caught.value)


TAG_CODE = """
from poolsieve.scoring_models.clip.files import tag_file
for model in (("ViT-B-32", "datacomp_xl_s13b_b90k"), ("ViTamin-S", "datacomp1b")):
    print(tag_file(*model).name)
"""


def test_weights_of_tags_come_through_the_same_cache(tmp_path: Path) -> None:
    folders = {}
    for repository, file in (
        ("laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", "open_clip_pytorch_model.bin"),
        ("jienengchen/ViTamin-S", "pytorch_model.bin"),
    ):
        folders[repository] = tmp_path / repository
        folders[repository].mkdir(parents=True)
        (folders[repository] / file).write_bytes(b"weights of " + repository.encode())
    hub = Hub(folders, TORCH)
    try:
        first = hub.run(TAG_CODE, tmp_path / "hf")
        assert first.stdout.split() == ["open_clip_pytorch_model.bin", "pytorch_model.bin"], first.stderr
        hub.counts.clear()
        assert hub.run(TAG_CODE, tmp_path / "hf", HF_HUB_OFFLINE="1").stdout == first.stdout
        assert not hub.counts
        empty = hub.run(TAG_CODE, tmp_path / "other", HF_HUB_OFFLINE="1").stderr
        assert "hf-hub:laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K is not in the cache" in empty.splitlines()[-1]
    finally:
        hub.stop()


def test_the_file_of_a_tag_is_the_one_that_open_clip_takes(tmp_path: Path) -> None:
    names = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
    code = "from open_clip.pretrained import *\nprint(download_pretrained(get_pretrained_cfg(*{model}))[-27:])\n"
    model = ("ViT-B-32", "laion2b_s34b_b79k")
    ours = "from poolsieve.scoring_models.clip.files import tag_file\nprint(str(tag_file(*{model}))[-27:])\n"
    for i in range(3):
        folder = tmp_path / str(i)
        folder.mkdir()
        for name in names[i:]:
            (folder / name).write_bytes(name.encode())
        hub = Hub({"laion/CLIP-ViT-B-32-laion2B-s34B-b79K": folder}, TORCH)
        found = hub.run((code + ours).format(model=model), tmp_path / f"hf{i}")
        hub.stop()
        theirs, mine = found.stdout.split()
        assert theirs == mine, found.stderr
        assert mine == (names[0] if i == 0 else names[2])


TAG_LOADED = """
import open_clip, torch
from open_clip import pretrained
from poolsieve.scoring_models.clip.weights import load_parts
about = dict(pretrained._slpcfg(hf_hub="own/small/"), mean=(0.1, 0.2, 0.3))
pretrained._PRETRAINED["ViT-S-32-alt"] = {"ours": about}
ours = load_parts(("ViT-S-32-alt", "ours"), None)
model, _, transform = open_clip.create_model_and_transforms("ViT-S-32-alt", pretrained="ours")
theirs = model.state_dict()
assert all(torch.equal(value, theirs[name]) for name, value in ours.model.state_dict().items())
assert str(ours.transform) == str(transform) and "0.1" in str(transform)
print("the same")
"""


def test_a_tag_is_loaded_as_open_clip_loads_it(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(1)
    model = open_clip.create_model("ViT-S-32-alt")
    (tmp_path / "small").mkdir()
    state = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(state, tmp_path / "small" / "open_clip_model.safetensors")
    hub = Hub({"own/small": tmp_path / "small"}, TORCH)
    try:
        found = hub.run(TAG_LOADED, tmp_path / "hf")
        assert found.stdout == "the same\n", found.stderr[-1500:]
    finally:
        hub.stop()


def test_images_are_prepared_for_a_tag_as_open_clip_prepares_them() -> None:
    from open_clip.factory import merge_preprocess_dict, merge_preprocess_kwargs
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained

    from poolsieve.scoring_models.clip.weights import tag_preprocessing

    for arch, tag in list_pretrained():
        entry = get_pretrained_cfg(arch, tag)
        default = dataclasses.asdict(open_clip.transform.PreprocessCfg())
        given = {name.removeprefix("image_"): value for name, value in tag_preprocessing(entry).items()}
        by_file = merge_preprocess_dict(dict(default), merge_preprocess_kwargs({}, **given))
        assert by_file == merge_preprocess_dict(dict(default), entry), (arch, tag)
