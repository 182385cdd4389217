"""What the parts of devices.py share: how much is run, CLIP models of several sizes, timing in turn, results."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import seconds

from poolsieve.scoring_models.base.config import digest
from poolsieve.scoring_models.devices.choice import cores

GOAL = 0.95

_TEXT = {"context_length": 77, "vocab_size": 49408}
OWN: Mapping[str, dict[str, Any]] = {
    "tiny": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {**_TEXT, "width": 32, "heads": 2, "layers": 1},
    },
    "small": {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 224, "layers": 4, "width": 256, "head_width": 64, "patch_size": 32},
        "text_cfg": {**_TEXT, "width": 128, "heads": 2, "layers": 3},
    },
}
"""Models that open_clip does not name: one that costs nothing, and one that costs about as much as its decoding."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything is run.

    Attributes:
        archs: CLIP models to measure alone -> pairs of a batch on a CPU.
        batches: of a model alone, for each thread.
        pipeline: CLIP model of the job against two loops, and its images on a CPU.
        shards: (images a shard, images, CLIP model) of the job against the bare loop.
        feed: images that the host's feed is measured with.
        standin: seconds for which the stand-in device is fed at each balance.
        balances: the stand-in device's rates, in units of the feed's.
        documents: for Celadon.
        tokens: (texts of a batch, tokens of each) of the language model on a CPU.
        tiny: shards of three rows.
        runs: pairs of runs in turn.
    """

    archs: Mapping[str, int]
    batches: int
    pipeline: tuple[str, int]
    shards: tuple[tuple[int, int, str], ...]
    feed: int
    standin: float
    balances: tuple[float, ...] = (0.5, 1.0, 2.0)
    documents: int
    tokens: tuple[int, int]
    tiny: int
    runs: int


FULL = Sizes(
    archs={"ViT-B-32": 32, "ViT-L-14": 4, "ViT-H-14": 2},
    batches=2,
    pipeline=("ViT-B-32", 256),
    shards=((32, 192, "ViT-B-32"), (64, 192, "ViT-B-32"), (512, 512, "ViT-B-32"), (10_000, 10_000, "small")),
    feed=1000,
    standin=40,
    documents=32,
    tokens=(4, 512),
    tiny=2000,
    runs=1,
)
QUICK = Sizes(
    archs={"ViT-B-32": 8, "ViT-L-14": 1},
    batches=2,
    pipeline=("small", 512),
    shards=((32, 256, "small"), (64, 256, "small"), (512, 512, "small"), (1500, 1500, "small")),
    feed=400,
    standin=6,
    documents=8,
    tokens=(1, 512),
    tiny=100,
    runs=1,
)
TEST = Sizes(
    archs={"tiny": 2},
    batches=1,
    pipeline=("tiny", 8),
    shards=((4, 8, "tiny"),),
    feed=16,
    standin=0.3,
    balances=(2.0,),
    documents=2,
    tokens=(1, 16),
    tiny=3,
    runs=1,
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A ratio of the table at the end, with its goal if there is one, and whatever has to be known to read it."""

    what: str
    ratio: float
    goal: float | None = None
    note: str = ""

    def __str__(self) -> str:
        said = "not measured" if math.isnan(self.ratio) else "met" if self.ratio >= (self.goal or 0) else "NOT MET"
        met = "" if self.goal is None else f"{self.goal:.2f} {said}"
        return f"{self.what:<64} {self.ratio:7.2f}  {met:<13} {self.note}"


@dataclass
class Measured:
    """Medians of several works that were run in turn, so that drift meets all of them."""

    times: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Median seconds of one of them."""
        return statistics.median(self.times[name])

    def ratio(self, first: str, second: str, less: str = "") -> float:
        """Median of first / second over the turns; from `second` the seconds of `less` are taken off."""
        offs = self.times[less] if less else [0.0] * len(self.times[first])
        found = zip(self.times[first], self.times[second], offs, strict=True)
        return statistics.median(a / past(b, off) for a, b, off in found)


def past(whole: float, start: float) -> float:
    """Seconds without the start-up; NaN where that took longer by itself: then the work is too small to be measured."""
    return whole - start if whole > start else math.nan


def in_turn(runs: int, **works: Callable[[], float | None]) -> Measured:
    """Runs all works one after the other, `runs` times. One that returns a number has measured its own seconds."""
    made = Measured({name: [] for name in works})
    for _ in range(runs):
        for name, work in works.items():
            own: list[float | None] = []
            clock = seconds(lambda w=work, o=own: o.append(w()))  # type: ignore[misc]
            made.times[name].append(clock if own[0] is None else own[0])
    return made


def config_of(arch: str) -> dict[str, Any]:
    """open_clip's configuration of a model: `tiny`, `small`, or one that open_clip names."""
    import open_clip

    found: dict[str, Any] = OWN[arch] if arch in OWN else open_clip.get_model_config(arch)
    return found


def clip_folder(folder: Path, arch: str) -> Path:
    """A CLIP model with random weights (speed does not depend on them) in open_clip's layout; made once.

    Weights are written as bf16, to half the size; they are loaded at the precision that is asked for.
    """
    target = folder / f"clip-{arch}-{digest(config_of(arch), 4)}"
    if not (target / "open_clip_config.json").exists():
        import open_clip
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(0)
        target.mkdir(parents=True, exist_ok=True)
        model, config = open_clip.CLIP(**config_of(arch)), config_of(arch)
        state = {name: value.bfloat16().contiguous() for name, value in model.state_dict().items()}
        save_file(state, target / "open_clip_model.safetensors")
        size = {"size": config["vision_cfg"]["image_size"]}
        (target / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": size}))
    return target


def device_kind() -> str:
    """ "cuda" if torch finds a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def precision_of(kind: str) -> str:
    """What models are measured at: bf16 on a GPU, fp32 on a CPU."""
    return "bf16" if kind == "cuda" else "fp32"


def threads_of(kind: str) -> int:
    """Threads that call a model at a time: two keep a GPU busy, on a CPU each has a core."""
    return 2 if kind == "cuda" else cores()


def free_bytes() -> int | None:
    """Bytes of memory that are available, by Linux' word; None where nothing says."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def machine() -> str:
    """Processor, cores, GPU, versions, and how loaded the machine is."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    return (
        f"{_processor()}, {cores()} cores, {gpu}, torch {torch.__version__}, Python {platform.python_version()}, {load}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
