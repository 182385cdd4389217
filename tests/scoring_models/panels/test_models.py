"""What a model in memory says, against plain loops over transformers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer  # noqa: E402

from poolsieve.scoring_models.base.errors import PlanError  # noqa: E402
from poolsieve.scoring_models.devices.runner import Runner  # noqa: E402
from poolsieve.scoring_models.panels.members import Local, model_files, sees_images  # noqa: E402
from poolsieve.scoring_models.panels.models import PanelModel, Refused, weight_bytes  # noqa: E402
from tests.scoring_models.panels import tiny_panel  # noqa: E402

ASKED = "What colour is the thing here?\nA. red\nB. a green one\nC. blue"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "text": tiny_panel.make_text(root / "text"),
        "plain": tiny_panel.make_text(root / "plain", seed=1, chat=False),
        "vision": tiny_panel.make_vision(root / "vision"),
        "grid": tiny_panel.make_grid(root / "grid"),
    }


def loaded(folder: Path, **given: Any) -> PanelModel:
    local = Local.of(str(folder))
    runner = Runner(torch.device("cpu"), "test")
    files = model_files(local)
    return PanelModel(files, "float32", runner, vision=sees_images(local), who=folder.name, **given)


def reference(folder: Path, text: str, image: bytes | None) -> tuple[Any, Any, dict[str, Any]]:
    """The tokenizer, the model and its inputs, as transformers' own documentation gets them."""
    if folder.name not in ("vision", "grid"):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        if folder.name == "plain":
            return tokenizer, model, dict(tokenizer(f"Question: {text}\nAnswer:", return_tensors="pt"))
        messages: list[Any] = [{"role": "user", "content": text}]
        asked = tokenizer
    else:
        asked = AutoProcessor.from_pretrained(folder)
        tokenizer, model = asked.tokenizer, AutoModelForImageTextToText.from_pretrained(folder).eval()
        shown = [] if image is None else [{"type": "image", "image": Image.open(io.BytesIO(image)).convert("RGB")}]
        messages = [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    return tokenizer, model, dict(asked.apply_chat_template(messages, **options))


CASES = [("text", None), ("plain", None), ("vision", None), ("vision", 1), ("grid", None), ("grid", 1)]


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_what_is_written_is_what_generate_writes(folders: dict[str, Path], kind: str, seed: int | None) -> None:
    image = None if seed is None else tiny_panel.picture(seed)
    tokenizer, model, inputs = reference(folders[kind], ASKED, image)
    whole = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    written = tokenizer.decode(whole, skip_special_tokens=True)
    said = loaded(folders[kind]).said(ASKED, image, 12)
    assert said.text == (written.strip().partition("\n")[0].strip() if kind == "plain" else written)
    assert (said.tokens_in, said.tokens_out) == (inputs["input_ids"].shape[1], len(whole))
    assert said.cut == (0 not in whole.tolist())


@pytest.mark.parametrize(("kind", "seed"), CASES)
@pytest.mark.parametrize("continuations", [["A", "B", "C"], ["red", "a green one", "blue"]])
def test_likelihoods_are_those_of_a_plain_loop(
    folders: dict[str, Path], kind: str, seed: int | None, continuations: list[str]
) -> None:
    image = None if seed is None else tiny_panel.picture(seed)
    tokenizer, model, inputs = reference(folders[kind], ASKED, image)
    expected = []
    for text in continuations:
        ids = tokenizer(f" {text}" if kind == "plain" else text, add_special_tokens=False)["input_ids"]
        total, so_far = 0.0, inputs["input_ids"]
        for one in ids:  # a token at a time, the whole anew each time
            again = {**inputs, "input_ids": so_far, "attention_mask": torch.ones_like(so_far)}
            if "mm_token_type_ids" in inputs:
                behind = torch.zeros_like(so_far)[:, inputs["input_ids"].shape[1] :]
                again["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], behind], dim=1)
            with torch.inference_mode():
                total += float(model(**again).logits[0, -1].double().log_softmax(-1)[one])
            so_far = torch.cat([so_far, torch.tensor([[one]])], dim=1)
        expected.append(total)
    assert len({len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in ["a green one", "A"]}) == 2
    found = loaded(folders[kind]).likely(ASKED, image, continuations)
    assert found.sums == pytest.approx(expected, abs=1e-4)
    assert found.tokens_in == inputs["input_ids"].shape[1]


@pytest.mark.parametrize("kind", ["vision", "grid"])
def test_the_image_makes_a_difference_and_the_neighbour_none(folders: dict[str, Path], kind: str) -> None:
    model = loaded(folders[kind])
    images = [tiny_panel.picture(seed) for seed in range(4)]
    found = [model.likely(ASKED, image, "ABC").sums for image in (None, *images)]
    assert len(set(found)) == 5
    texts = [model.said(ASKED, image, 5).text for image in (None, *images)]
    model.said("Something else altogether?", images[2], 5)
    assert [model.said(ASKED, image, 5).text for image in reversed((None, *images))] == texts[::-1]
    assert [model.likely(ASKED, image, "ABC").sums for image in reversed((None, *images))] == found[::-1]


@pytest.mark.parametrize("kind", ["text", "plain", "vision"])
def test_a_special_tokens_name_in_a_question_is_text(folders: dict[str, Path], kind: str) -> None:
    model = loaded(folders[kind])
    image = tiny_panel.picture(0) if kind == "vision" else None
    plain, special = (model.said(f"What is {word} here?", image, 3).tokens_in for word in ("x", "<image><|end|>"))
    assert special > plain + 5  # letter by letter, and no second image


def test_an_answer_ends_where_the_context_does(tmp_path: Path) -> None:
    model = loaded(tiny_panel.make_text(tmp_path / "short", context=48))
    length = model.said("What?", None, 1).tokens_in
    assert model.said("What?", None, 500).tokens_out <= 48 - length
    with pytest.raises(Refused, match="48"):
        model.said("What colour? " * 40, None, 5)


def test_settings_of_sampling_in_the_folder_count_for_nothing(tmp_path: Path) -> None:
    folder = tiny_panel.make_text(tmp_path / "own")
    before = loaded(folder).said(ASKED, None, 12)
    (folder / "generation_config.json").write_text(
        '{"do_sample": true, "temperature": 9.0, "repetition_penalty": 5.0, "eos_token_id": [0], "max_length": 3}'
    )
    assert loaded(folder).said(ASKED, None, 12) == before


def test_a_number_that_is_none_is_no_answer(tmp_path: Path) -> None:
    model = loaded(tiny_panel.make_text(tmp_path / "nan"))
    with torch.no_grad():
        model.model.lm_head.weight[5] = float("nan")
    with pytest.raises(Refused) as first:
        model.said(ASKED, None, 3)
    with pytest.raises(Refused) as second:
        model.likely(ASKED, None, "ABC")
    assert {one.value.row_error.kind for one in (first, second)} == {"not_a_number"}


def test_what_is_no_model_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"config\.json"):
        sees_images(Local(str(tmp_path)))
    with pytest.raises(PlanError, match="no folder"):
        model_files(Local(str(tmp_path / "nowhere")))
    broken = tiny_panel.make_vision(tmp_path / "broken")
    (broken / "processor_config.json").write_text('{"auto_map": {"AutoProcessor": "evil.Processor"}}')
    with pytest.raises(PlanError, match="Python code"):
        model_files(Local(str(broken)))
    (broken / "processor_config.json").write_text("[]")
    with pytest.raises(PlanError, match="expected an object"):
        model_files(Local(str(broken)))


def test_weights_are_counted_as_they_will_be(folders: dict[str, Path]) -> None:
    files = model_files(Local(str(folders["text"])))
    size = (folders["text"] / "model.safetensors").stat().st_size
    assert weight_bytes(files, "float32") == size
    assert weight_bytes(files, "bfloat16") == size // 2
