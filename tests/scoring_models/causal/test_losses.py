"""Losses of tiny causal models: against a plain loop of torch in both units, and bit for bit whatever is beside a row."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from poolsieve.scoring_models import Color, Loss  # noqa: E402
from poolsieve.scoring_models.base.errors import PlanError  # noqa: E402
from poolsieve.scoring_models.causal import losses  # noqa: E402
from poolsieve.scoring_models.causal.units import NOTHING  # noqa: E402
from poolsieve.scoring_models.feeding.driver import score_rows  # noqa: E402
from tests.scoring_models.causal.tiny_causal import WORDS, make  # noqa: E402

KINDS = {
    "gpt2": "fused",
    "llama": "fused",
    "neox": "fused",
    "olmo2": "fused",
    "opt": "fused",
    "bloom": "fused",
    "mixtral": "fused",
    "gemma2": "own",
    "granite": "own",
    "cohere": "own",
}
"""Kind -> how its losses are had; the last three cap or scale what comes from the head."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("causal")
    make(made / "conditional", "gpt2", seed=1)
    for kind in KINDS:
        make(made / kind, kind)
    return made


def texts(n: int, seed: int = 0) -> list[str]:
    dice = random.Random(seed)
    return [" ".join(dice.choices(WORDS, k=dice.choice([1, 3, 12, 20, 40, 120]))) for _ in range(n)]


def chunks(n: int, seed: int = 0, longest: int = 64) -> list[list[int]]:
    dice = random.Random(seed)
    return [[dice.randrange(280) for _ in range(dice.choice([2, 5, 31, 32, 33, longest]))] for _ in range(n)]


def plain_loss(model: Any, ids: list[int], window: int) -> float | None:
    """The way of every tutorial: one window after the other, all of its logits, fp32."""
    total = 0.0
    for at in range(0, len(ids) - 1, window - 1):
        some = torch.tensor([ids[at : at + window]])
        with torch.inference_mode():
            logits = model(some).logits[0, :-1].float()
        total += float(torch.nn.functional.cross_entropy(logits, some[0, 1:], reduction="sum"))
    return total / (len(ids) - 1)


def plain(model: Path, given: list[Any], window: int) -> list[float | None]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    tokenizer.model_max_length = 1 << 40
    network = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    start = tokenizer.bos_token_id
    whole = [
        [start, *tokenizer(one, add_special_tokens=False)["input_ids"]] if isinstance(one, str) else one
        for one in given
    ]
    return [plain_loss(network, ids, window) for ids in whole]


def batch_of(given: list[Any], kind: pa.DataType | None = None) -> pa.RecordBatch:
    if kind is None:
        return pa.record_batch({"text": pa.array(given, pa.string())})
    return pa.record_batch({"tokens": pa.array(given, kind)})


def columns(scorer: Any, loaded: Any, batch: pa.RecordBatch, threads: int = 1) -> dict[str, list[Any]]:
    made = score_rows(loaded, batch, scorer.columns, threads=threads)
    assert not made.errors
    return {name: column.to_pylist() for name, column in made.columns.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_documents_loss_is_that_of_a_plain_loop(folder: Path, kind: str) -> None:
    scorer = Loss(str(folder / kind))
    loaded, given = scorer.load(), texts(25)
    found = columns(scorer, loaded, batch_of(given), threads=2)[""]
    expected = plain(folder / kind, given, 64)
    assert loaded.settings["losses"] == {"loss": KINDS[kind]}
    assert found == pytest.approx(expected, abs=1e-5)
    assert np.std(np.array(expected, float)) > 0.01


@pytest.mark.parametrize("window", [2, 7, 33])
def test_windows_predict_every_token_once(folder: Path, window: int) -> None:
    scorer = Loss(str(folder / "neox"), window=window)
    given = texts(20, 1)
    found = columns(scorer, scorer.load(), batch_of(given))[""]
    assert found == pytest.approx(plain(folder / "neox", given, window), abs=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "neox", "gemma2"])
@pytest.mark.parametrize("type_", [pa.list_(pa.uint16()), pa.large_list(pa.int64()), pa.list_(pa.int32())])
def test_a_chunks_loss_is_that_of_a_plain_loop(folder: Path, kind: str, type_: pa.DataType) -> None:
    scorer = Loss(str(folder / kind), tokens="tokens")
    given = chunks(25)
    found = columns(scorer, scorer.load(), batch_of(given, type_), threads=2)[""]
    assert found == pytest.approx(plain(folder / kind, given, 64), abs=1e-5)


def test_chunks_of_one_length_in_a_slice_of_a_batch(folder: Path) -> None:
    scorer = Loss(str(folder / "gpt2"), tokens="tokens")
    given = np.random.default_rng(0).integers(0, 300, (20, 48)).tolist()
    whole = batch_of(given, pa.list_(pa.uint16(), 48))
    found = columns(scorer, scorer.load(), whole.slice(7, 9))[""]
    assert found == pytest.approx(plain(folder / "gpt2", given[7:16], 64), abs=1e-5)


@pytest.mark.parametrize("unit", ["text", "tokens"])
def test_a_color_is_the_difference_of_two_losses(folder: Path, unit: str) -> None:
    """Of the very bits that each model has alone."""
    prior, conditional = str(folder / "gpt2"), str(folder / "conditional")
    named = {} if unit == "text" else {"tokens": "tokens"}
    batch = batch_of(texts(25)) if unit == "text" else batch_of(chunks(25), pa.list_(pa.uint16()))
    color = Color(prior=prior, conditional=conditional, **named)
    found = columns(color, color.load(), batch, threads=2)
    for key, model in (("prior", prior), ("conditional", conditional)):
        alone = Loss(model, **named)
        assert found[key] == columns(alone, alone.load(), batch)[""]
    rows = {key: np.array(values, np.float32) for key, values in found.items()}
    assert np.array_equal(rows[""], rows["conditional"] - rows["prior"])
    assert list(color.columns) == ["", "prior", "conditional"]
    assert np.abs(rows[""]).min() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", ["text", "tokens"])
def test_a_row_has_the_same_bits_alone_and_among_others(folder: Path, kind: str, unit: str) -> None:
    scorer = Loss(str(folder / kind)) if unit == "text" else Loss(str(folder / kind), tokens="tokens")
    given: list[Any] = texts(30, 3) if unit == "text" else chunks(30, 3)
    type_ = None if unit == "text" else pa.list_(pa.uint16())
    loaded = scorer.load()

    def found(some: list[Any]) -> list[Any]:
        return columns(scorer, loaded, batch_of(some, type_), threads=2)[""]

    alone = [found([one])[0] for one in given]
    assert found([*given[:11], None, *given[11:]]) == [*alone[:11], None, *alone[11:]]
    assert found(given[::-1]) == alone[::-1]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "neox", "cohere", "mixtral"])
def test_a_windows_place_in_its_batch_changes_no_bit(folder: Path, kind: str, precision: str) -> None:
    loaded = Loss(str(folder / kind), precision=precision, batch_tokens=448).load()
    dice = np.random.default_rng(0)
    for count, length in loaded.shapes:
        windows = [dice.integers(0, 300, dice.integers(2, length + 1)).astype(np.int32) for _ in range(count)]
        first = loaded.runner(loaded._compute, loaded.filled(str(length), [(one,) for one in windows]), smaller="")[""]
        for shift in range(1, count):
            turned = [(one,) for one in (*windows[-shift:], *windows[:-shift])]
            again = loaded.runner(loaded._compute, loaded.filled(str(length), turned), smaller="")[""]
            assert np.array_equal(np.roll(first, shift), again)
        lone = loaded.runner(loaded._compute, loaded.filled(str(length), [(windows[0],)]), smaller="")[""]
        assert lone[0] == first[0] and (lone[1:] == 0).all()


def test_models_with_experts_see_one_window_at_a_time(folder: Path) -> None:
    """How many tokens of a batch an expert gets depends on all of its windows."""
    assert {windows for windows, _ in Loss(str(folder / "mixtral")).load().shapes} == {1}
    assert max(windows for windows, _ in Loss(str(folder / "llama")).load().shapes) > 1


def test_logits_are_there_in_equal_slices_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small they are; and torch's own function for it gives what slices of ours give."""
    given = texts(12, 4)
    found = {}
    for most in (1 << 24, 7 * 300, 300):
        monkeypatch.setitem(losses.AT_ONCE, "cpu", most)
        for way in ("fused", "sliced", "own"):
            scorer = Loss(str(folder / "llama"))
            loaded = scorer.load()
            loaded.models[""].way = way
            found[most, way] = columns(scorer, loaded, batch_of(given))[""]
    first = found[1 << 24, "fused"]
    assert all(values == pytest.approx(first, abs=1e-5) for values in found.values())


def test_whole_logits_are_never_there(folder: Path) -> None:
    """The largest tensor of a batch, as torch's dispatcher sees it, holds a slice of logits."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            made = func(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor) and made.dim() == 2 and made.shape[-1] == 300:
                largest = max(largest, made.shape[0])
            return made

    model = losses.TokenLosses(losses.load_causal(str(folder / "gemma2"), "float32", "here"), "here")
    model._most = lambda: 100
    ids = torch.arange(512).reshape(8, 64) % 300
    targets = torch.roll(ids, -1, 1)
    targets[:, -1] = NOTHING
    with torch.inference_mode(), Watch():
        model.sums(ids, targets)
    assert 0 < largest <= 100


def test_bf16_is_near_and_is_recorded(folder: Path) -> None:
    given = texts(20, 5)
    exact, rough = Loss(str(folder / "llama")), Loss(str(folder / "llama"), precision="bf16")
    loaded = rough.load()
    assert (loaded.settings["dtype"], exact.load().settings["dtype"]) == ("bf16", "fp32")
    found = columns(rough, loaded, batch_of(given))[""]
    expected = columns(exact, exact.load(), batch_of(given))[""]
    assert found == pytest.approx(expected, rel=0.02) and found != expected


def test_positions_are_counted_in_fp32_whatever_the_precision(folder: Path) -> None:
    """To cast a loaded model would round its tables of rotations."""
    model = losses.load_causal(str(folder / "llama"), "bfloat16", "here")
    assert {str(buffer.dtype) for name, buffer in model.named_buffers() if "inv_freq" in name} == {"torch.float32"}


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    model = make(tmp_path / "bert", "bert")
    with pytest.raises(PlanError, match="sees those behind it: it is no causal language model"):
        Loss(str(model)).load()


def test_flops_are_those_of_both_models(folder: Path) -> None:
    """2 for each weight of a layer and token, head included, and attention."""
    one = Loss(str(folder / "gpt2")).load()
    two = Color(prior=str(folder / "gpt2"), conditional=str(folder / "conditional")).load()
    assert two.flops("64") == 2 * one.flops("64")
    weights = 2 * (12 * 32 * 32) + 32 * 300
    assert one.flops("64") == pytest.approx(2 * 512 * (weights + 2 * 2 * 64 * 32), rel=0.01)
