"""`benchmarks/devices.py`: its arithmetic, its stand-in device, and the whole of it at sizes that measure nothing."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"

pytest.importorskip("torch")
pytest.importorskip("open_clip")


pytestmark = pytest.mark.usefixtures("beside_the_benchmarks")


def test_a_device_takes_its_time_for_each_batch_however_many_hand_them_in() -> None:
    from device_standin import Device

    device = Device(rate=1000)
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(device.compute, [50] * 4))
    assert time.perf_counter() - start >= 0.2 and device.busy == pytest.approx(0.2)


def test_a_device_that_takes_no_time_is_never_busy() -> None:
    from device_standin import Device

    device = Device(rate=0)
    device.compute(1 << 40)
    assert device.busy == 0


def test_start_up_is_taken_off_in_each_turn_and_never_more_than_there_is() -> None:
    from device_common import Line, Measured

    made = Measured({"bare": [10.0, 20.0, 30.0], "job": [12.0, 22.0, 33.0], "start": [2.0, 2.0, 3.0]})
    assert made.ratio("bare", "job", "start") == 1 and made.ratio("bare", "job") == pytest.approx(20 / 22)
    none = Measured({"bare": [1.0], "job": [1.0], "start": [1.5]}).ratio("bare", "job", "start")
    assert math.isnan(none)
    said = [str(Line(what="x", ratio=ratio, goal=0.95)) for ratio in (0.95, 0.94, none)]
    assert [" ".join(line.split()[3:]) for line in said] == ["met", "NOT MET", "not measured"]
    assert "met" not in str(Line(what="x", ratio=0.1))


def test_works_run_in_turn_and_may_have_a_clock_of_their_own() -> None:
    from device_common import in_turn

    order: list[str] = []
    made = in_turn(2, a=lambda: order.append("a"), b=lambda: order.append("b") or 7.0)
    assert order == ["a", "b", "a", "b"] and made.times["b"] == [7.0, 7.0] and made.median("a") < 7


@pytest.mark.parametrize("arch", ["tiny", "small"])
def test_operations_of_a_model_are_those_of_its_matrices(arch: str) -> None:
    """2 for each parameter of a block and token, and attention's own: Kaplan et al., arXiv 2001.08361, table 1."""
    import open_clip
    import torch
    from device_common import config_of
    from device_models import _clip_flops

    config = config_of(arch)
    with torch.device("meta"):
        empty = open_clip.CLIP(**config)
    image, text = config["vision_cfg"], config["text_cfg"]
    patches = (image["image_size"] // image["patch_size"]) ** 2
    shapes = [(image["layers"], image["width"], patches + 1), (text["layers"], text["width"], text["context_length"])]
    blocks = sum(layers * n * (24 * w * w + 4 * n * w) for layers, w, n in shapes)
    around = 2 * patches * 3 * image["patch_size"] ** 2 * image["width"]
    around += 2 * config["embed_dim"] * (image["width"] + text["width"])
    assert _clip_flops(empty, config) == pytest.approx(blocks + around, rel=1e-3)


def test_every_part_of_the_benchmark_runs(tmp_path: Path) -> None:
    """But those that need large models, or a process for each number of cores."""
    command = [sys.executable, str(FOLDER / "devices.py"), "--test", "--folder", str(tmp_path)]
    done = subprocess.run(
        [*command, "--parts", "feed", "standin", "pipeline", "tiny"],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    table = done.stdout.partition("\nratio ")[2]
    for line in ("tiny job / bare loop", "tiny job / DataLoader loop", "a device of 2 of the feed's", "three rows"):
        assert line in table


@pytest.mark.parametrize("wrong", [["--parts", "nonsense"], ["--runs", "0"], ["--quick", "--test"]])
def test_wrong_arguments_are_refused(wrong: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import devices

    monkeypatch.setattr(sys, "argv", ["devices.py", *wrong])
    with pytest.raises(SystemExit):
        devices.arguments()
