"""Which precision "auto" is, what it leaves in store, and that fp32 on a GPU never means TF32."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

from poolsieve.dataflow.store.settings import ScorerParts, SettingsChanged, check_settings  # noqa: E402
from poolsieve.scoring_models import Celadon, Classifier, Clip  # noqa: E402
from poolsieve.scoring_models.base.errors import PlanError  # noqa: E402
from poolsieve.scoring_models.devices.choice import BF16, precision_of  # noqa: E402
from poolsieve.scoring_models.feeding.driver import score_rows  # noqa: E402
from tests.scoring_models.clip import tiny_clip  # noqa: E402
from tests.scoring_models.encoders import tiny_celadon  # noqa: E402

CPU = torch.device("cpu")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux says what the processor has")
def test_auto_is_bf16_where_torch_too_finds_it_in_the_processor() -> None:
    said = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else pytest.skip("torch has no say")
    assert precision_of(torch, "auto", CPU) == ("bf16" if any(said.get(word) for word in BF16) else "fp32")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_auto_is_bf16_on_a_gpu_that_has_it() -> None:
    there = torch.cuda.is_bf16_supported(including_emulation=False)
    assert precision_of(torch, "auto", torch.device("cuda")) == ("bf16" if there else "fp32")


def test_nothing_said_is_fp32_on_a_cpu_and_on_a_gpu_what_it_has() -> None:
    assert precision_of(torch, None, CPU) == "fp32"
    if torch.cuda.is_available():
        gpu = torch.device("cuda")
        assert precision_of(torch, None, gpu) == precision_of(torch, "auto", gpu)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_precision_that_was_said_stays(precision: str) -> None:
    assert precision_of(torch, precision, CPU) == precision


@pytest.mark.parametrize(
    "made", [Clip("hf-hub:a/b"), Celadon(), Classifier("a/b")], ids=lambda made: type(made).__name__
)
def test_it_is_a_scorer_of_its_own(made: Any) -> None:
    """What it comes to is not known before a machine has it."""
    auto = type(made)(made.model, precision="auto")
    assert auto.to_dict() == {**made.to_dict(), "precision": "auto"}
    with pytest.raises(PlanError, match="expected one of fp32, bf16, fp16, auto"):
        type(made)(made.model, precision="int8")


def scorers(folder: Path) -> list[tuple[Any, pa.RecordBatch]]:
    texts = pa.record_batch({"text": ["w1 w2 w3", "w7", "w5 " * 40]})
    clip, celadon = tiny_clip.make(folder / "clip"), tiny_celadon.make(folder / "celadon")
    return [
        (lambda precision: Clip(f"local-dir:{clip}", precision=precision, device="cpu"), tiny_clip.pairs(5)),
        (lambda precision: Celadon(str(celadon), precision=precision, device="cpu", probabilities=True), texts),
    ]


def test_scores_and_settings_are_those_of_what_it_came_to(tmp_path: Path) -> None:
    here = precision_of(torch, "auto", CPU)
    other = "fp32" if here == "bf16" else "bf16"
    for number, (make, batch) in enumerate(scorers(tmp_path)):
        auto, named = make("auto"), make(here)
        loaded = auto.load()
        assert loaded.settings == named.load().settings and loaded.settings["dtype"] == here
        ours, theirs = (score_rows(one, batch, auto.columns, threads=1).columns for one in (loaded, named.load()))
        assert all(ours[name].equals(theirs[name]) for name in auto.columns)
        parts = ScorerParts(name="x", scorer=auto.to_dict(), version=1, sources={})
        folder = tmp_path / f"scores-{number}"
        folder.mkdir()
        check_settings(str(folder), parts, {**loaded.settings, "dtype": other})
        with pytest.raises(SettingsChanged, match=f"dtype: stored '{other}', here '{here}'"):
            check_settings(str(folder), parts, loaded.settings)


FULL = """
import sys, torch
exec(sys.argv[1])
from poolsieve.scoring_models.devices.choice import full_fp32
full_fp32(torch)
backends = torch.backends
if hasattr(backends, "fp32_precision"):
    assert backends.cuda.matmul.fp32_precision == backends.cudnn.conv.fp32_precision == "ieee"
assert not backends.cuda.matmul.allow_tf32 and not backends.cudnn.allow_tf32
"""


@pytest.mark.parametrize(
    "before",
    [
        "",
        "torch.set_float32_matmul_precision('high')",
        "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True",
        "torch.backends.fp32_precision = 'tf32'",
    ],
)
def test_fp32_on_a_gpu_is_never_tf32(before: str) -> None:
    """Whatever else in the process asked for it, the old way or the new one, and without warnings."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL, before], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-1500:]
