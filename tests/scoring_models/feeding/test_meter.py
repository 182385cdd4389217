"""What a model does with its time: each second is counted once, and handed out once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolsieve.scoring_models.base.errors import PoolsieveError, RowError
from poolsieve.scoring_models.base.scorer import ModelBatch, ModelRow, Scored
from poolsieve.scoring_models.base.work import ModelWork
from poolsieve.scoring_models.devices.flops import flops_of
from poolsieve.scoring_models.devices.peaks import peak_of
from poolsieve.scoring_models.devices.replicas import Replicas
from poolsieve.scoring_models.feeding.driver import score_rows
from poolsieve.scoring_models.feeding.meter import Meter, State

FLOAT = {"": pa.float32()}
ROOM = 4


class Clock:
    """Seconds that go on when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Rows:
    """A model that takes single rows, four to a batch; -1 is no row, -2 is refused by the model, -3 breaks it."""

    settings: Mapping[str, Any] = {"device": "cpu", "dtype": "fp32"}

    def __init__(self) -> None:
        self.batches, self.lock = [], threading.Lock()

    def pieces(self, batch: pa.RecordBatch) -> Iterator[Sequence[int]]:
        rows = np.flatnonzero(batch.column("x").is_valid().to_numpy(zero_copy_only=False))
        return (rows[i : i + 2].tolist() for i in range(0, len(rows), 2))

    def decode(self, batch: pa.RecordBatch, rows: Sequence[int]) -> tuple[list[ModelRow], dict[int, RowError]]:
        values = {row: batch.column("x")[row].as_py() for row in rows}
        errors = {row: RowError("bad", "no row") for row, value in values.items() if value == -1}
        good = [row for row in rows if row not in errors]
        return [ModelRow(row, "four", (np.array([values[row]], np.float32),)) for row in good], errors

    def room(self, shape: str) -> int:
        return ROOM

    def filled(self, shape: str, inputs: Sequence[tuple[np.ndarray[Any, Any], ...]]) -> Any:
        made = np.zeros(ROOM, np.float32)
        made[: len(inputs)] = [one[0][0] for one in inputs]
        return made

    def infer(self, prepared: ModelBatch) -> Mapping[str, Any]:
        if -2 in prepared.inputs:
            raise ValueError("the model refuses a row")
        if -3 in prepared.inputs:
            raise PoolsieveError("the device is gone")
        with self.lock:
            self.batches.append(len(prepared.rows))
        return {"": prepared.inputs * 2}


class Device(Rows):
    """The same on a device, two batches at a time."""

    settings: Mapping[str, Any] = {"device": "NVIDIA L4", "dtype": "bf16"}
    at_once = 2

    def flops(self, shape: str) -> float:
        return 1e9


def batch_of(values: Sequence[int | None]) -> pa.RecordBatch:
    return pa.record_batch({"x": pa.array(values, pa.int64())})


def scored(model: Any, values: Sequence[int | None], meter: Meter | None = None, threads: int = 2) -> Scored:
    return score_rows(model, batch_of(values), FLOAT, threads=threads, meter=meter)


def work_of(made: Scored) -> ModelWork:
    assert made.work is not None
    return made.work


def total(parts: Sequence[ModelWork]) -> ModelWork:
    made = ModelWork()
    for part in parts:
        made.add(part)
    return made


def check(work: ModelWork) -> None:
    """What is true of every part and every sum."""
    numbers = [getattr(work, name) for name in work.__struct_fields__ if name != "devices"]
    assert min(numbers) >= 0
    assert work.busy + work.decoding <= work.seconds + 1e-9
    assert work.infer_seconds >= work.busy - 1e-9
    assert work.taken <= work.places
    assert sum(work.devices.values()) == pytest.approx(work.seconds)
    assert msgspec.convert(msgspec.to_builtins(work), ModelWork) == work


def test_each_state_has_its_seconds() -> None:
    clock = Clock()
    meter = Meter("cpu", clock=clock)

    def during(seconds: float, state: State) -> None:
        meter.note("feed", state)
        clock.now += seconds

    clock.now += 1000  # before the first rows nothing is counted
    during(2, State(queued=3, decoding=2, inferring=0, threads=2))
    during(3, State(queued=1, decoding=1, inferring=1, threads=2))
    during(4, State(queued=0, decoding=0, inferring=2, threads=2))
    during(5, State(queued=0, decoding=1, inferring=0, threads=2))  # one of two cores has a piece
    during(6, State(queued=0, decoding=2, inferring=0, threads=2))  # both have, though no piece waits
    during(7, State())
    meter.forget("feed")
    clock.now += 8  # between two feeds of the same model
    assert meter.take() == ModelWork(
        seconds=35,
        busy=7,
        decoding=8,
        decode_seconds=2 * 2 + 3 + 5 + 6 * 2,
        infer_seconds=3 + 4 * 2,
        core_seconds=2 * 35,
        devices={"cpu": 35},
    )
    assert meter.take() == ModelWork()


def test_a_feed_that_ends_late_does_not_hide_the_next_one() -> None:
    clock = Clock()
    meter = Meter(clock=clock)
    meter.note("old", State(inferring=1, threads=0))
    meter.note("new", State(queued=1, decoding=2, threads=2))
    clock.now += 1
    meter.note("old", State())
    clock.now += 1
    meter.forget("old")
    clock.now += 1
    made = meter.take()
    assert (made.seconds, made.busy, made.decoding, made.infer_seconds, made.decode_seconds) == (3, 1, 2, 1, 6)


def test_devices_that_share_a_feed_are_counted_each() -> None:
    """Two devices with two places each: three batches keep both busy, one keeps one busy, the other waits."""
    clock = Clock()
    meter = Meter("NVIDIA L4", 121.0, lambda shape: 1e12, load_seconds=9.0, devices=2, clock=clock)
    for queued, inferring in ((5, 3), (5, 1), (0, 1), (5, 0)):
        meter.note("feed", State(queued=queued, decoding=1, inferring=inferring, threads=4))
        clock.now += 10
    made = meter.take()
    check(made)
    assert (made.loads, made.load_seconds, made.seconds, made.core_seconds) == (2, 9, 80, 160)
    assert (made.busy, made.decoding, made.infer_seconds) == (20 + 10 + 10, 10 + 20, 50)
    assert made.peak_tflop == 121 * 80
    assert [Meter(devices=wrong).devices for wrong in ([0, 1], 0, True, None)] == [1] * 4  # type: ignore[arg-type]


def test_copies_on_several_devices_are_loads_of_one_model() -> None:
    copies = [Device(), Device()]
    meter = Meter.of(Replicas(copies), 5.0)
    made = work_of(scored(Replicas(copies), range(1, 30), meter))
    check(made)
    assert (made.loads, made.load_seconds, made.rows) == (2, 5, 29)
    assert made.batches == sum(len(copy.batches) for copy in copies) and made.places == ROOM * made.batches
    assert made.tflop == pytest.approx(1e-3 * made.batches) and made.peak_tflop == pytest.approx(121 * made.seconds)


def test_a_clock_that_goes_back_takes_no_second_away() -> None:
    clock = Clock()
    meter = Meter(clock=clock)
    meter.note("feed", State(inferring=1, threads=1))
    clock.now -= 5
    meter.note("feed", State(threads=1))
    clock.now += 1
    made = meter.take()
    check(made)
    assert (made.seconds, made.busy) == (1, 0)


counts = st.integers(0, 3)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.builds(State, counts, counts, counts, counts), st.floats(0, 9), st.booleans()),
        max_size=30,
    )
)
def test_parts_add_up_to_the_whole_wherever_they_are_cut(steps: list[tuple[int, State, float, bool]]) -> None:
    clock = Clock()
    cut, whole = Meter(clock=clock, load_seconds=2.5), Meter(clock=clock, load_seconds=2.5)
    parts = []
    for feed, state, seconds, take in steps:
        for meter in (cut, whole):
            meter.note(f"feed {feed}", state) if any(state) else meter.forget(f"feed {feed}")
            meter.ran("four", state.queued, ROOM)
            meter.scored(state.decoding)
        clock.now += seconds
        parts += [cut.take()] if take else []
    parts.append(cut.take())
    for part in parts:
        check(part)
    once, sums = msgspec.to_builtins(whole.take()), msgspec.to_builtins(total(parts))
    assert sums.pop("devices") == pytest.approx(once.pop("devices"))
    assert sums == pytest.approx(once)
    assert (sums["loads"], sums["load_seconds"]) == (1, 2.5)


@pytest.mark.parametrize("kind", [Rows, Device])
def test_what_callers_are_told_adds_up_to_what_the_model_saw(kind: type[Rows]) -> None:
    model = kind()
    meter = Meter.of(model, 0.25)
    values = [[*range(1, 1 + n), None, -1, -2] for n in (0, 1, 7, 30, 2, 16, 5, 11)]
    with ThreadPoolExecutor(4) as callers:
        parts = [work_of(made) for made in callers.map(lambda some: scored(model, some, meter), values)]
    for part in parts:
        check(part)
    made = total(parts)
    assert made.rows == made.taken == sum(model.batches) == sum(len(some) - 3 for some in values)
    assert made.batches == len(model.batches) and made.places == ROOM * len(model.batches)
    assert (made.loads, made.load_seconds) == (1, 0.25)
    left = meter.take()
    assert (left.rows, left.batches + left.taken, left.loads, left.busy, left.decoding) == (0, 0, 0, 0, 0)


def test_time_between_callers_is_time_without_rows() -> None:
    clock, model = Clock(), Rows()
    meter = Meter(clock=clock)
    assert work_of(scored(model, [1, 2, 3], meter)).seconds == 0
    clock.now += 60
    later = work_of(scored(model, [4, 5], meter))
    assert (later.seconds, later.busy, later.decoding, later.rows) == (60, 0, 0, 2)
    assert later.core_seconds == 120  # the two threads of the callers before might have worked


def test_what_a_failed_call_took_goes_to_the_next_one() -> None:
    model = Rows()
    meter = Meter.of(model, 1.0)
    with pytest.raises(PoolsieveError, match="device is gone"):
        scored(model, [1, 2, 3, 4, -3], meter)
    made = work_of(scored(model, [5, 6], meter))
    check(made)
    assert made.loads == 1 and made.rows == 2 and made.taken == sum(model.batches)
    clock = Clock()
    meter._clock = clock  # no thread of the failed call is left to note anything
    clock.now += 1e6
    assert meter.take().busy == 0


def test_without_a_meter_a_feed_has_its_own_and_a_plain_scorer_none() -> None:
    made = work_of(scored(Rows(), [1, 2, 3, 4, 5]))
    assert (made.rows, made.loads) == (5, 0)
    assert scored(Rows(), []).work is None


@pytest.mark.parametrize(
    ("device", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989),
        ("NVIDIA H100 80GB HBM3", "fp32", 67),
        ("NVIDIA H100 PCIe", "fp16", 756),
        ("NVIDIA H200", "bf16", 989),
        ("NVIDIA A100-SXM4-40GB", "bf16", 312),
        ("NVIDIA A100 80GB PCIe", "fp32", 19.5),
        ("NVIDIA L4", "bf16", 121),
        ("NVIDIA L40S", "bf16", 362),
        ("NVIDIA B200", "bf16", 2250),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2),
        ("Tesla T4", "fp16", 65),
        ("Tesla T4", "bf16", None),  # it has no such cores
        ("NVIDIA L40", "bf16", None),
        ("NVIDIA GH200 480GB", "bf16", None),
        ("NVIDIA H200 NVL", "bf16", 835),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bf16", None),
        ("cpu", "fp32", None),
        ("", "", None),
    ],
)
def test_peaks_of_devices_by_the_name_that_cuda_has(device: str, precision: str, peak: float | None) -> None:
    assert peak_of(device, precision) == peak


def test_the_share_of_the_peak_is_of_full_batches() -> None:
    asked: list[str] = []
    clock = Clock()

    def flops(shape: str) -> float:
        asked.append(shape)
        return {"long": 5e12, "short": 1e12}[shape]

    meter = Meter("NVIDIA L4", 121.0, flops, clock=clock)
    meter.note("feed", State(inferring=1, threads=2))
    for shape in ("long", "short", "long"):
        meter.ran(shape, 1, ROOM)
    clock.now += 2
    made = meter.take()
    assert (made.tflop, made.peak_tflop) == (11, 242)
    meter.ran("short", 4, ROOM)
    assert meter.take().tflop == 1
    assert sorted(asked) == ["long", "short"]


def test_where_operations_can_not_be_counted_no_share_is_known() -> None:
    def broken(shape: str) -> float:
        raise RuntimeError("a layer without numbers")

    nonsense: list[Any] = [lambda shape: float("nan"), lambda shape: -1.0, lambda shape: "many", 5]
    for flops in (broken, lambda shape: None, None, *nonsense):
        clock = Clock()
        meter = Meter("NVIDIA L4", 121.0, flops, clock=clock)
        meter.note("feed", State(inferring=1, threads=2))
        for _ in range(2):
            meter.ran("four", 4, ROOM)
            clock.now += 2
            made = meter.take()
            assert (made.tflop, made.peak_tflop, made.seconds) == (0, 0, 2)


def test_a_meter_knows_its_device_from_the_models_settings() -> None:
    assert work_of(scored(Device(), [1])).devices.keys() == {"NVIDIA L4"}
    made = work_of(scored(Device(), [1, 2, 3, 4, 5]))
    assert made.tflop == pytest.approx(2e-3) and made.peak_tflop == pytest.approx(121 * made.seconds)

    class Unnamed(Rows):
        settings: Mapping[str, Any] = {}
        at_once = 1

    assert work_of(scored(Unnamed(), [1])).devices.keys() == {"device"}
    assert work_of(scored(Rows(), [1])).devices.keys() == {"cpu"}


def test_operations_are_counted_without_touching_the_module() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Sequential(torch.nn.Linear(10, 20), torch.nn.ReLU(), torch.nn.Linear(20, 3, bias=False)).eval()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    assert flops_of(layer, lambda one: one(torch.zeros(7, 10, device="meta"))) == 2 * 7 * (10 * 20 + 20 * 3)
    after = layer.state_dict()
    assert all(value.device.type == "cpu" and torch.equal(value, before[name]) for name, value in after.items())


def test_clips_operations_are_those_that_open_clip_publishes() -> None:
    """open_clip's docs/model_profile.csv: ViT-B-32 8.82 and 5.96 thousand million operations, image and text."""
    torch = pytest.importorskip("torch")
    open_clip = pytest.importorskip("open_clip")
    from poolsieve.scoring_models import Clip
    from poolsieve.scoring_models.clip.towers import TorchTowers

    with torch.device("meta"):
        model = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32")).eval()
    towers = TorchTowers(Clip(("ViT-B-32", "openai")), model, None, torch.device("meta"))
    assert towers.flops(3, 77) / 3e9 == pytest.approx(8.82 + 5.96, abs=0.01)


def test_operations_of_encoders_grow_with_the_shape(tmp_path: Path) -> None:
    """Twice for each weight that a token meets, and attention; a network of `transformers` looks at its mask."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from poolsieve.scoring_models import Celadon, Classifier
    from tests.scoring_models.encoders import tiny_celadon, tiny_classifier

    celadon = Celadon(str(tiny_celadon.make(tmp_path / "c")), backend="torch", device="cpu")
    regression = Classifier(str(tiny_classifier.make(tmp_path / "k", num_labels=1)), backend="torch", device="cpu")
    for loaded in (celadon.load(), regression.load()):
        weights = sum(p.numel() for name, p in loaded.run.network.named_parameters() if "embed" not in name)
        short, long = (max(loaded.shapes, key=lambda shape: sign * shape[1]) for sign in (-1, 1))
        counted = [float(loaded.flops(str(shape[1])) or 0) / (shape[0] * shape[1]) for shape in (short, long)]
        assert 0.9 * 2 * weights < counted[0] < counted[1] < 20 * 2 * weights
