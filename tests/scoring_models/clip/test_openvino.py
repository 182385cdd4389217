"""CLIP's towers in OpenVINO: torch's numbers, one row at a time, and what can't be is refused."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import pickle
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")
pytest.importorskip("openvino")

from poolsieve.scoring_models import Clip  # noqa: E402
from poolsieve.scoring_models.base.errors import PlanError  # noqa: E402
from poolsieve.scoring_models.base.packages import package_versions  # noqa: E402
from poolsieve.scoring_models.clip.openvino import AGREE, OpenVinoTowers  # noqa: E402
from poolsieve.scoring_models.devices.openvino import compiled, core  # noqa: E402
from poolsieve.scoring_models.feeding.driver import score_rows  # noqa: E402
from tests.scoring_models.clip.tiny_clip import DIM, make, pairs  # noqa: E402


def _has_bf16() -> bool:
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


needs_bf16 = pytest.mark.skipif(not _has_bf16(), reason="this processor has no bf16")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"local-dir:{make(tmp_path_factory.mktemp('clip') / 'tiny')}"


def numbers(config: Clip, batch: pa.RecordBatch, threads: int = 2, loaded: Any = None) -> np.ndarray[Any, Any]:
    made = score_rows(loaded or config.load(), batch, config.columns, threads=threads)
    assert not made.errors
    return made.columns[""].to_numpy()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_scores_are_torchs(model: str, size: int) -> None:
    expected = numbers(Clip(model, batch_size=size), pairs())
    found = numbers(Clip(model, batch_size=size, backend="openvino"), pairs())
    assert np.abs(found - expected).max() <= AGREE
    assert expected.max() - expected.min() > 100 * AGREE


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_a_rows_score_depends_on_the_row_alone(model: str, precision: str) -> None:
    config = Clip(model, batch_size=4, backend="openvino", precision=precision)
    loaded, batch = config.load(), pairs(13)
    whole = numbers(config, batch, loaded=loaded)
    order = np.random.default_rng(3).permutation(13)
    assert np.array_equal(whole[order], numbers(config, batch.take(pa.array(order)), threads=1, loaded=loaded))
    for rows in ([5], [12, 0], list(range(0, 13, 3))):
        assert np.array_equal(whole[rows], numbers(config, batch.take(pa.array(rows)), threads=3, loaded=loaded))
    assert np.array_equal(whole, numbers(config, batch))


@needs_bf16
def test_bf16_is_close_and_is_bf16(model: str) -> None:
    exact, fast = (
        numbers(Clip(model, backend="openvino", precision=precision), pairs()) for precision in ("fp32", "bf16")
    )
    assert 1e-6 < np.abs(exact - fast).max() < 0.03


def test_embeddings_are_stored_beside_the_score(model: str) -> None:
    config = Clip(model, embeddings=True, batch_size=4, backend="openvino")
    made = score_rows(config.load(), pairs(5), config.columns, threads=2).columns
    theirs = score_rows(Clip(model, embeddings=True).load(), pairs(5), config.columns, threads=2).columns
    for name in ("image_embedding", "text_embedding"):
        assert made[name].type == pa.list_(pa.float16(), DIM)
        ours, expected = (np.stack(side[name].to_pylist()).astype(np.float32) for side in (made, theirs))
        assert np.allclose(ours, expected, atol=1e-3)


def test_only_another_backend_is_written_down(model: str) -> None:
    plain, other = Clip(model), Clip(model, backend="openvino")
    assert Clip(model, backend="torch").to_dict() == plain.to_dict() and "backend" not in plain.to_dict()
    assert other.to_dict() == {**plain.to_dict(), "backend": "openvino"}
    assert "backend" not in plain.load().settings
    assert other.load().settings == {**Clip(model, device="cpu").load().settings, "backend": "openvino"}
    assert set(package_versions([other])) - set(package_versions([plain])) == {"openvino"}
    assert pickle.loads(pickle.dumps(other)) == other
    assert "openvino" not in dataclasses.replace(other, backend="torch").packages


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"backend": "auto"}, r"backend='auto'\): expected one of torch, openvino"),
        ({"backend": None}, "expected one of torch, openvino"),
        ({"backend": "openvino", "precision": "fp16"}, "on a CPU it has fp32 and bf16"),
        ({"backend": "openvino", "device": "cuda:1"}, "runs on the CPU: say device='cpu', or backend='torch'"),
    ],
)
def test_what_it_can_not_do_is_refused_in_the_plan(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError, match=says):
        Clip("hf-hub:a/b", **wrong)


class Towers(torch.nn.Module):  # type: ignore[misc]
    """A model whose image tower does something of its own."""

    def __init__(self, image: Callable[[Any], Any]) -> None:
        super().__init__()
        self.image, self.words = image, torch.nn.Embedding(100, DIM)

    def encode_image(self, x: Any) -> Any:
        return self.image(x.flatten(1)[:, :DIM])

    def encode_text(self, tokens: Any) -> Any:
        return self.words(tokens).sum(1)


def towers(image: Callable[[Any], Any]) -> OpenVinoTowers:
    dice = np.random.default_rng(0)
    examples = dice.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8), dice.integers(0, 100, (3, 5))
    return OpenVinoTowers(Clip("hf-hub:a/b", backend="openvino"), Towers(image).eval(), torch.nn.Identity(), examples)


def test_a_model_that_it_can_run_is_run() -> None:
    made = towers(lambda x: x * 2)(np.ones((4, 8, 8, 3), np.uint8), np.arange(20).reshape(4, 5))
    assert made[""].shape == (4,) and np.isfinite(made[""]).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("image", "says"),
    [
        (lambda x: torch.special.bessel_j0(x), "can't run this model in fp32: say backend='torch'"),
        (lambda x: torch.stack([x[0], x[1], x[len(x) - 1]])[: len(x)], "say backend='torch'"),
        (lambda x: x + torch.arange(DIM) * len(x).__index__() ** 2, "say backend='torch'"),
        (lambda x: x * float("nan"), "say backend='torch'"),
    ],
    ids=["an operation that it has not", "a number of rows", "a number of rows as a value", "no numbers"],
)
def test_a_model_that_it_gets_wrong_is_refused(image: Callable[[Any], Any], says: str) -> None:
    with pytest.raises(PlanError, match=says) as caught:
        towers(image)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_without_openvino_the_plan_says_how_to_install_it(model: str, tmp_path: Path) -> None:
    """In a process that has the packages of this one but for OpenVINO's."""
    for path in map(Path, filter(None, sys.path)):
        for entry in path.iterdir() if path.name == "site-packages" else ():
            if not entry.name.startswith("openvino"):
                (tmp_path / entry.name).symlink_to(entry)
    code = f"from poolsieve.scoring_models import Clip; Clip({model!r}, backend='openvino').files()"
    paths = [str(tmp_path), str(Path(__file__).parents[3])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys._base_executable, "-S", "-c", code],  # type: ignore[attr-defined]
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Clip(backend='openvino') needs openvino, which is not installed" in done.stderr, done.stderr[-1500:]
    assert "pip install 'poolsieve[classifiers]'" in done.stderr


NO_BF16 = """
import numpy as np, torch
from poolsieve.scoring_models.devices.openvino import compiled
example = (np.ones((2, 4), np.float32),)
run = compiled(torch.nn.Linear(4, 4).eval(), example, "fp32", lambda run: None)
print(run(*example)[0].shape)
compiled(torch.nn.Linear(4, 4).eval(), example, "bf16", lambda run: None)
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="switches an extension of x86 off")
def test_a_processor_without_bf16_is_refused_before_a_row_is_scored() -> None:
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", NO_BF16], env=env, capture_output=True, text=True, check=False)
    assert "(2, 4)" in done.stdout
    assert "PlanError: OpenVINO" in done.stderr and "say backend='torch'" in done.stderr.replace(
        "precision='fp32', or ", ""
    )


class _Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (("begins", ctypes.c_size_t), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's memory map")
def test_models_that_end_leave_signal_handlers_a_stack() -> None:
    """Otherwise the next signal that Python handles ends the process."""
    example = (np.ones((2, 4), np.float32),)
    models = [compiled(torch.nn.Linear(4, 4).eval(), example, "fp32", lambda run: None) for _ in range(3)]
    while models:
        del models[0]
    stack = _Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    mapped = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines()]
    assert stack.begins == 0 or any(int(a, 16) <= stack.begins < int(b, 16) for a, b in mapped)
