"""Whole jobs: against loops, at several sizes of shards, and in front of a device of known rate.

Seconds of a job are counted twice: as a whole, and without its start-up, which is measured in turn with it as the same job
over a pool of one row without an image (Beam, the model's load, and everything that is written). Goals are for the second,
since real pools take hours, and both are printed.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
from clip import BATCH, Loops, photographs, tars
from common import in_fresh_process, seconds
from device_common import (
    GOAL,
    Line,
    Measured,
    Sizes,
    clip_folder,
    device_kind,
    in_turn,
    past,
    precision_of,
)
from device_standin import StandIn

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.flight import LOOK_AHEAD, in_flight
from poolsieve.dataflow.passes.scoring import read_ahead
from poolsieve.dataflow.pools.shards import Batch
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models import Clip
from poolsieve.scoring_models.base.scorer import Scorer
from poolsieve.scoring_models.devices.choice import cores
from poolsieve.scoring_models.feeding.driver import score_rows
from poolsieve.scoring_models.feeding.feed import Check, never

DIFFERENT = 256
"""Images that differ from each other; larger pools repeat them."""


def images_of(count: int) -> list[bytes]:
    """So many JPEGs of 500 x 375."""
    some = photographs(min(count, DIFFERENT))
    return [some[i % len(some)] for i in range(count)]


def one_row(folder: Path) -> Path:
    """A pool of one row that has a caption and no image: nothing to score."""
    target = folder / "one-row"
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target / "00000.tar", "w") as file:
        info = tarfile.TarInfo("0.txt")
        info.size = 1
        file.addfile(info, io.BytesIO(b"a"))
    return target


def job(pool: Path, scorer: Scorer, out: Path) -> None:
    """A whole job, from nothing to a ledger."""
    shutil.rmtree(out, ignore_errors=True)
    source = Pool.webdataset(f"{pool}/*.tar", text="txt", image="jpg")
    recipe = source | Score(clip=scorer) | Keep(col("clip") >= -1, reason="clip.none")
    poolsieve.run(recipe, out, samples=False)


class Jobs:
    """A job over a pool, and the same without rows."""

    def __init__(self, folder: Path, pool: Path, scorer: Scorer) -> None:
        self.out, self.pool, self.empty, self.scorer = folder / "device-out", pool, one_row(folder), scorer

    def whole(self) -> None:
        """All rows."""
        job(self.pool, self.scorer, self.out)

    def start(self) -> None:
        """No rows: what any job takes."""
        job(self.empty, self.scorer, self.out)


class DeviceLoops(Loops):
    """The loops on the device and at the precision that the job has, with torch's own number of threads."""

    def __init__(self, model: Path, images: list[bytes]) -> None:
        super().__init__(model, images)
        self.device = device_kind()
        self.dtype = self.torch.bfloat16 if precision_of(self.device) == "bf16" else self.torch.float32
        self.model.to(self.device, self.dtype)

    def bare(self) -> None:
        """Decode, preprocess, model, in order, a batch at a time."""
        self.torch.set_num_threads(cores())
        for i in range(0, len(self.images), BATCH):
            pixels = self.torch.stack([self.transform(_opened(data)) for data in self.images[i : i + BATCH]])
            self._scores(pixels, self.tokenizer(self.texts[i : i + BATCH]))

    def loader(self) -> None:
        """As users write it: a DataLoader with a worker for each core, and the model in this process."""
        self.torch.set_num_threads(cores())
        pairs = self.torch.utils.data.DataLoader(self, batch_size=BATCH, num_workers=cores())
        for pixels, tokens in pairs:
            self._scores(pixels, tokens)

    def _scores(self, pixels: Any, tokens: Any) -> Any:
        with self.torch.inference_mode():
            x = self.model.encode_image(pixels.to(self.device, self.dtype), normalize=True)
            y = self.model.encode_text(tokens.to(self.device), normalize=True)
            return (x * y).sum(-1).float().cpu().numpy()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return self.transform(_opened(self.images[i])), self.tokenizer([self.texts[i]])[0]


def _opened(data: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(data))


IN_CHILD = """
sys.path.insert(0, sys.argv[1])
import os
if int(sys.argv[2]) and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(sys.argv[2])])
import device_jobs
result = getattr(device_jobs, sys.argv[3])(*sys.argv[4:])
"""


def in_child(limit: int, function: str, *arguments: object) -> dict[str, float]:
    """What a function of this module finds in a fresh process on the first `limit` cores (0: on all)."""
    return in_fresh_process(IN_CHILD, str(Path(__file__).parent), str(limit), function, *map(str, arguments))


def loader_seconds(model: str, count: str) -> dict[str, float]:
    """Seconds of the DataLoader loop, in a process of its own: its workers are forks, and Beam's threads are not there."""
    loops = DeviceLoops(Path(model), images_of(int(count)))
    return {"seconds": seconds(loops.loader)}


def clip_of(model: Path) -> Clip:
    """The scorer of the jobs."""
    return Clip(f"local-dir:{model}", precision=precision_of(device_kind()), batch_size=BATCH)


def against_loops(sizes: Sizes, folder: Path) -> Iterator[Line]:
    """The job on tars, the bare loop, and the DataLoader loop."""
    arch, count = sizes.pipeline
    if device_kind() == "cuda":
        arch, count = "ViT-L-14", 40 * count
    model, images = clip_folder(folder, arch), images_of(count)
    jobs = Jobs(folder, tars(folder, images, max(1, count // 64)), clip_of(model))
    loops = DeviceLoops(model, images)
    jobs.start()
    made = in_turn(
        sizes.runs,
        job=jobs.whole,
        bare=loops.bare,
        loader=lambda: in_child(0, "loader_seconds", model, count)["seconds"],
        start=jobs.start,
    )
    for loop, name in (("bare", "bare loop"), ("loader", f"DataLoader loop, {cores()} workers")):
        yield _against(f"CLIP {arch} job / {name}", made, loop, count, GOAL if loop == "bare" else None)


def _against(what: str, made: Measured, loop: str, count: int, goal: float | None) -> Line:
    """The job's throughput as a ratio to a loop's."""
    whole, start = made.median("job"), made.median("start")
    print(
        f"{what}: {whole:.1f} s, start-up {start:.1f} s of them; {made.median(loop):.1f} s: {count} pairs", flush=True
    )
    note = f"{made.ratio(loop, 'job'):.2f} with start-up ({start:.1f} of {whole:.1f} s)"
    return Line(what=what, ratio=made.ratio(loop, "job", "start"), goal=goal, note=note)


def by_shard_size(sizes: Sizes, folder: Path) -> Iterator[Line]:
    """The job against the bare loop at several numbers of images a shard, on one core and on all."""
    if device_kind() == "cuda" or not hasattr(os, "sched_setaffinity"):
        print("images a shard: not run; it is for a CPU, and needs a system that can bind a process to cores")
        return
    for limit in sorted({1, min(2, cores()), cores()}):
        spec = json.dumps([(each, count, str(clip_folder(folder, arch))) for each, count, arch in sizes.shards])
        found = in_child(limit, "shard_ratios", folder, sizes.runs, spec)
        for each, _, arch in sizes.shards:
            ratio, whole, start, job = (found[f"{each} {name}"] for name in ("ratio", "whole", "start", "job"))
            what = f"CLIP {arch} job / bare loop, {each:,} images a shard, {limit} cores"
            note = f"{whole:.2f} with start-up ({start:.1f} of {job:.1f} s)"
            line = Line(what=what, ratio=ratio, goal=GOAL, note=note)
            print(line, flush=True)
            yield line


def shard_ratios(folder: str, runs: str, spec: str) -> dict[str, float]:
    """For each [images a shard, images, model] of a JSON list: bare loop's seconds / the job's, and the seconds of both."""
    made: dict[str, float] = {}
    for each, count, model in json.loads(spec):
        found = _shard_ratio(Path(folder), Path(model), each, count, int(runs))
        made |= {f"{each} {name}": value for name, value in found.items()}
    return made


def _shard_ratio(folder: Path, model: Path, each: int, count: int, runs: int) -> dict[str, float]:
    images = images_of(count)
    pool = tars(folder, images, max(1, count // each))
    jobs, loops = Jobs(folder, pool, clip_of(model)), DeviceLoops(model, images)
    jobs.start()
    made = in_turn(runs, job=jobs.whole, bare=loops.bare, start=jobs.start)
    found = {name: made.median(name) for name in ("job", "bare", "start")}
    return {**found, "ratio": made.ratio("bare", "job", "start"), "whole": made.ratio("bare", "job")}


class HostFeed:
    """The host's side alone, in front of a device that takes no time: rows of a tar are read and decoded.

    What a job has beside it is the engine, the store and the end of every shard.
    """

    def __init__(self, folder: Path, model: Path, count: int) -> None:
        self.config = StandIn(f"local-dir:{model}", batch_size=BATCH)
        self.loaded, self.count, images = self.config.load(), count, images_of(count)
        self.files = Pool.webdataset(f"{tars(folder / 'feed', images, 1)}/*.tar", text="txt", image="jpg").located()
        self.shards = self.files.listing().shards
        self.types = self.files.role_types(self.shards)
        texts = [f"a photo of thing {i}" for i in range(count)]
        self.rows = pa.record_batch({"image": pa.array(images, pa.binary()), "text": texts})

    def decode(self) -> None:
        """All rows, from memory."""
        self._through(self.rows)

    def run(self) -> None:
        """All rows, from the tar, read ahead as in a job."""
        batches = chain.from_iterable(self.files.batches(one, ("image", "text"), self.types) for one in self.shards)
        for _ in in_flight(read_ahead(batches), self._read, LOOK_AHEAD, lambda batch: batch.num_rows):
            pass

    def _read(self, batch: Batch, check: Check) -> None:
        self._through(batch.roles.select(["image", "text"]), check)

    def _through(self, rows: pa.RecordBatch, check: Check = never) -> None:
        score_rows(self.loaded, rows, self.config.columns, threads=cores(), check=check)


def feed_model(folder: Path, sizes: Sizes) -> Path:
    """A model of which only image size and tokenizer count."""
    return clip_folder(folder, "tiny" if sizes.pipeline[0] == "tiny" else "small")


def feed_alone(sizes: Sizes, folder: Path) -> Iterator[Line]:
    """Pairs/s that the host can give to a device."""
    feed = HostFeed(folder, feed_model(folder, sizes), sizes.feed)
    feed.run()
    made = in_turn(sizes.runs, read=feed.run, decode=feed.decode)
    for name, what in (("decode", "from memory"), ("read", "read from a tar")):
        rate = feed.count / made.median(name)
        print(f"host's feed alone, JPEGs of 500 x 375, {what}: {rate:,.0f} pairs/s, {rate / cores():,.0f} a core")
    yield Line(what="host's feed alone, read from a tar / from memory", ratio=made.ratio("decode", "read"))


def standin(sizes: Sizes, folder: Path) -> Iterator[Line]:
    """The job in front of a device of known rate, against the slower of device and feed."""
    model = feed_model(folder, sizes)
    feed = HostFeed(folder, model, sizes.feed)
    feed.run()
    for balance in sizes.balances:
        rate = balance * feed.count / seconds(feed.run)
        count = max(BATCH, round(min(rate, rate / balance) * sizes.standin / BATCH) * BATCH)
        pool = tars(folder, images_of(count), max(1, count // 512))
        jobs = Jobs(folder, pool, StandIn(f"local-dir:{model}", rate=rate, batch_size=BATCH))
        # The feed is measured again at each turn: what it can do changes with what else the machine does.
        made = in_turn(sizes.runs, before=feed.run, job=jobs.whole, after=feed.run, start=jobs.start)
        yield _balanced(balance, rate, count, feed, made)
        shutil.rmtree(pool)


def _balanced(balance: float, rate: float, count: int, feed: HostFeed, made: Measured) -> Line:
    own = (made.median("before") + made.median("after")) / 2 / feed.count
    limit = min(rate, 1 / own)
    job, start = made.median("job"), made.median("start")
    what = f"job in front of a device of {balance:g} of the feed's rate / slower of both"
    print(f"{what}: device {rate:.0f}/s, feed {1 / own:.0f}/s, job {count / past(job, start):.0f}/s", flush=True)
    note = f"{count / job / limit:.2f} with start-up ({start:.1f} of {job:.1f} s)"
    return Line(what=what, ratio=count / past(job, start) / limit, goal=GOAL, note=note)


def tiny_shards(sizes: Sizes, folder: Path) -> Iterator[Line]:
    """Many shards of three rows, against the same rows in one shard; a model that costs nothing."""
    count, scorer = 3 * sizes.tiny, clip_of(clip_folder(folder, "tiny"))
    images = images_of(count)
    many, one = (Jobs(folder, tars(folder, images, shards), scorer) for shards in (sizes.tiny, 1))
    made = in_turn(1, many=many.whole, one=one.whole, start=one.start)
    extra = (made.median("many") - made.median("one")) / sizes.tiny
    said = (
        f"{made.median('many'):.1f} s, in one shard {made.median('one'):.1f} s, start-up {made.median('start'):.1f} s"
    )
    print(f"{sizes.tiny:,} shards of three rows: {said}; a shard costs {1000 * extra:.1f} ms", flush=True)
    yield Line(
        what=f"{sizes.tiny:,} shards of three rows / the same rows in one shard, seconds",
        ratio=made.ratio("many", "one"),
    )


Part = Callable[[Sizes, Path], Iterator[Line]]
