"""What a report says of models: the sentence that names the bottleneck, from given figures, and a real run's line."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from poolsieve.dataflow.store.summary import Facts, PoolFacts, ScorerFacts, Work
from poolsieve.jobs.cli import main
from poolsieve.jobs.report.models import ModelLine, model_line
from poolsieve.jobs.report.numbers import cores_text, percent_text, rate_text
from poolsieve.jobs.report.throughput import Throughput, measured
from poolsieve.scoring_models.base.work import ModelWork
from tests.conftest import ledger

DEMO = Path(__file__).parents[3] / "recipes" / "demo" / "clip"
NBSP = "\N{NO-BREAK SPACE}"
H100 = "NVIDIA H100 80GB HBM3"


def facts(*names: str) -> Facts:
    pool = PoolFacts(kind="webdataset", urls=("p",), root="p", id="0", roles=(), split_bytes=1)
    scorers = tuple(ScorerFacts(name=name, fingerprint="0", scores=(), files=()) for name in names)
    steps: dict[str, Any] = {"steps": (), "tops": (), "limits": (), "scorers": scorers}
    said: dict[str, Any] = {"read": (), "role_types": {}, "gaps": (), "recipe": "{}", "source": None, "versions": ()}
    return Facts(pool=pool, **steps, **said)


def on_device(**changed: Any) -> ModelWork:
    """A copy on an H100 with four cores, of which 100 seconds went as the names say."""
    seconds = {"seconds": 100.0, "core_seconds": 400.0, "devices": {H100: 100.0}}
    sizes = {"loads": 1, "load_seconds": 8.0, "rows": 20_000, "batches": 80, "places": 20_480, "taken": 20_000}
    return ModelWork(**{**sizes, **seconds, **changed})


def on_cpu(**changed: Any) -> ModelWork:
    return on_device(**{"core_seconds": 200.0, "devices": {"cpu": 100.0}, **changed})


def text(work: ModelWork, clip: float = 98.0, read: float = 1.0, other: float = 1.0) -> str:
    done = Work(
        rows=20_000,
        seconds={"clip": clip, "read": read, "words": other},
        scored={"clip": 20_000, "words": 20_000},
        models={"clip": work},
    )
    return measured(facts("words", "clip"), done).text.replace(NBSP, " ")


def test_a_device_that_waits_for_decoding() -> None:
    """27 seconds of computing need 391 seconds of decoding: 14.5 cores, of which there are four."""
    assert text(on_device(busy=27.0, decoding=71.0, decode_seconds=391.0)) == (
        "Scoring clip is the bottleneck: 98 % of the work time at 204 rows/s. "
        "The device of clip waits for decoding 71 % of the time: 11 more cores would fill it."
    )
    one = text(on_device(busy=80.0, decoding=0.0, decode_seconds=391.0))
    assert "full" in one
    assert "1 more core would fill it" in text(on_device(busy=40.0, decoding=60.0, decode_seconds=190.0))
    assert "4 cores could fill it" in text(on_device(busy=40.0, decoding=60.0, decode_seconds=90.0))


def test_cores_for_several_copies_are_those_of_each() -> None:
    twice = on_device(busy=27.0, decoding=71.0, decode_seconds=391.0)
    twice.add(on_device(busy=27.0, decoding=71.0, decode_seconds=391.0))
    assert "11 more cores for each of 2 copies would fill it" in text(twice)
    line = model_line("clip", twice)
    assert (line.copies, line.rows, line.rows_per_second, line.load_seconds) == (2, 40_000, 200.0, 8.0)
    assert line.cores == 4 and "each of 2 copies" in line.text


def test_a_pool_of_broken_images_takes_only_decoding() -> None:
    broken = {"rows": 0, "batches": 0, "places": 0, "taken": 0}
    line = model_line("clip", on_cpu(**broken, decoding=99.0, decode_seconds=190.0))
    assert line.text.startswith("clip on 2 cores: 0 rows/s; 0") and line.filled is None
    assert "95 % of their time in decoding" in text(on_cpu(**broken, decoding=99.0, decode_seconds=190.0))
    # How many more cores a device could take is not known where it never computed.
    assert "more cores would help" in text(on_device(decoding=90.0, decode_seconds=391.0, rows=0))


def test_a_device_that_is_full() -> None:
    assert text(on_device(busy=96.0, decoding=3.0)).endswith(
        "The device of clip is full: it computes 96 % of the time, and another would halve the time."
    )


def test_a_device_without_rows_names_what_it_waits_for() -> None:
    work = on_device(busy=20.0, decoding=10.0, decode_seconds=40.0)
    assert text(work, 50.0, 45.0).endswith(
        "The device of clip has no rows 70 % of the time: reading the pool is what it waits for."
    )
    assert text(work, 50.0, 5.0, 40.0).endswith("no rows 70 % of the time: scoring words is what it waits for.")
    assert "(--workers) would help" in text(work)


def test_a_pool_that_is_slow_to_read() -> None:
    made = text(on_device(busy=20.0, decoding=10.0), clip=30.0, read=90.0, other=0.0)
    assert made == (
        "Reading the pool is the bottleneck: 75 % of the work time at 222 rows/s, and the model of clip waits for rows "
        "70 % of its time. Twice as fast, it would save 38 % of all work."
    )


def test_a_cpu_that_computes_decodes_or_waits() -> None:
    assert text(on_cpu(busy=99.0, infer_seconds=156.0, decode_seconds=40.0)).endswith(
        "It takes the cores: 78 % of their time in the model, 20 % in decoding; more cores would make it faster."
    )
    assert "70 % of their time in decoding, 28 % in the model" in text(
        on_cpu(busy=50.0, infer_seconds=56.0, decode_seconds=140.0)
    )
    assert "Its cores have no rows 60 % of the time" in text(on_cpu(infer_seconds=60.0, decode_seconds=20.0))


def test_another_stage_says_what_it_said() -> None:
    assert text(on_cpu(infer_seconds=150.0), clip=10.0, other=30.0) == (
        "Scoring words is the bottleneck: 73 % of the work time at 667 rows/s. "
        "Twice as fast, it would save 37 % of all work."
    )


def test_lines_of_a_device_and_of_a_cpu() -> None:
    work = on_device(busy=27.0, decoding=71.0, decode_seconds=391.0, tflop=9890.0, peak_tflop=98_900.0)
    assert model_line("dfn", work).text.replace(NBSP, " ") == (
        f"dfn on {H100}: 200 rows/s; computes 27 % of the time, waits for decoding 71 %, for rows 2 %; 3.9 of 4 cores "
        "decode; 10 % of the device's peak, 37 % while it computes; loaded in 8.00 s"
    )
    assert model_line("dfn", on_cpu(infer_seconds=156.0, decode_seconds=40.0)).text.replace(NBSP, " ") == (
        "dfn on 2 cores: 200 rows/s; 78 % of the cores' time in the model, 20 % in decoding, 2 % without rows; "
        "loaded in 8.00 s"
    )


def test_what_is_not_known_is_not_shown() -> None:
    line = model_line("dfn", on_device(busy=27.0, loads=0, load_seconds=0.0))
    assert (line.peak, line.peak_in_model, line.load_seconds) == (None, None, None)
    assert "peak" not in line.text and "loaded" not in line.text
    assert model_line("dfn", ModelWork(loads=1, load_seconds=2.0)).text == "dfn on 0 cores: no rows; loaded in 2.00 s"
    assert model_line("dfn", ModelWork()).text == "dfn on 0 cores: no rows"


@pytest.mark.parametrize("field", [field for field in ModelWork.__struct_fields__ if field != "devices"])
def test_figures_of_a_damaged_file_make_no_share_above_one(field: str) -> None:
    for work in (on_device(**{field: 10**18}), on_cpu(**{field: 10**18}), on_device(**{field: 0})):
        line = model_line("dfn", work)
        shares = [line.in_model, line.decoding, line.waiting, line.filled, line.peak, line.peak_in_model]
        assert all(share is None or 0 <= share <= 1 for share in shares)
        assert line.in_model + line.decoding + line.waiting <= 1 + 1e-9
        assert msgspec.convert(msgspec.to_builtins(line), ModelLine) == line
        assert text(work)


def test_work_of_models_is_added_up_and_files_of_before_have_none() -> None:
    first, second = on_device(busy=1.0), on_cpu(busy=2.0, rows=5)
    work = Work().add(Work(models={"a": first})).add(Work(models={"a": second, "b": on_cpu()})).add(Work(rows=3))
    assert work.models["a"].rows == 20_005 and work.models["a"].busy == 3
    assert work.models["a"].devices == {H100: 100, "cpu": 100} and work.models["b"].rows == 20_000
    assert second.rows == 5 and first.rows == 20_000
    assert msgspec.convert(msgspec.to_builtins(work), Work) == work == pickle.loads(pickle.dumps(work))
    old = msgspec.convert({"rows": 3, "read_bytes": 1, "seconds": {"read": 1.0}, "scored": {}}, Work)
    assert old.models == {}
    report = {
        "stages": [],
        "seconds": 0.0,
        "wall_seconds": None,
        "rows": 0,
        "read_bytes": 0,
        "bottleneck": None,
        "text": "",
    }
    assert msgspec.convert(report, Throughput).models == []


def test_numbers_as_sentences_have_them() -> None:
    shares = [percent_text(share).replace(NBSP, " ") for share in (None, 0, 0.004, 0.124, 0.996, 1)]
    assert shares == ["–", "0 %", "< 1 %", "12 %", "99 %", "100 %"]
    assert [rate_text(rate) for rate in (None, 0, 0.001, 0.42, 9.96, 12.4, 4210)] == [
        "–",
        "0",
        "< 0.01",
        "0.42",
        "10",
        "12",
        "4,210",
    ]
    assert [cores_text(cores) for cores in (1, 2, 1.5, 1.04)] == ["1 core", "2 cores", "1.5 cores", "1 core"]


RECIPE = f"""
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models import Clip

recipe = (
    Pool.webdataset("pool/*.tar", text="txt", image="jpg")
    | Score(dfn=Clip("local-dir:{DEMO}", batch_size=16), again=Clip("local-dir:{DEMO}", batch_size=16))
    | Keep(col("dfn") >= -1, reason="dfn.none")
)
"""


def write_pool(folder: Path) -> None:
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for i in range(25):
                sink = io.BytesIO()
                pixels = np.random.default_rng(i).integers(0, 255, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(sink, "JPEG")
                for ext, data in (("jpg", sink.getvalue()), ("txt", b"a red square")):
                    info = tarfile.TarInfo(f"{shard}{i:03d}.{ext}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


def test_a_real_run_says_what_its_model_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps share one model, so it is loaded once, and has one line that counts the rows of both."""
    pytest.importorskip("open_clip")
    monkeypatch.chdir(tmp_path)
    write_pool(tmp_path / "pool")
    Path("recipe.py").write_text(RECIPE)
    done = CliRunner().invoke(main, ["run", "recipe.py", "--out", "out"])
    assert done.exit_code == 0, done.output
    said = done.output.replace(NBSP, " ")
    assert said.count("\nmodel ") == 1 and "rows/s; " in said and "; loaded in " in said and "\ntime     " in said

    folder = next(Path("out/decisions").iterdir())
    work = json.loads((folder / "summary.json").read_text())["work"]["models"]
    assert list(work) == ["dfn"]
    made = msgspec.convert(work["dfn"], ModelWork)
    assert (made.loads, made.rows, made.taken) == (1, 100, 100) and made.places == 16 * made.batches >= 100
    assert made.load_seconds > 0 and 0 < made.busy <= made.seconds and made.devices == {"cpu": made.seconds}
    assert made.decode_seconds > 0 and made.tflop == made.peak_tflop == 0
    assert made.infer_seconds + made.decode_seconds <= made.core_seconds + 1e-6

    html, data = (folder / "report.html").read_text(), json.loads((folder / "report.json").read_text())
    line = model_line("dfn", made)
    assert data["throughput"]["models"] == [msgspec.to_builtins(line)]
    assert "<h3>Models</h3>" in html and line.text.replace("'", "&#39;") in html
    again = CliRunner().invoke(main, ["run", "recipe.py", "--out", "out"])
    assert "\nmodel " not in again.output and "\ntime " not in again.output
    kept = json.loads((folder / "report.json").read_text())["throughput"]
    assert kept["earlier"] and kept["models"] == data["throughput"]["models"]


PYTHONS = """
import dataclasses
import os
import time

import numpy as np
import pyarrow as pa

from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models.base.scorer import ModelRow, TextScorer


class Loaded:
    settings = {"device": "cpu"}

    def pieces(self, batch):
        return [[i] for i in range(batch.num_rows)]

    def decode(self, batch, rows):
        texts = batch.column("text")
        return [ModelRow(i, "three", (np.array([len(texts[i].as_py())], np.float32),)) for i in rows], {}

    def room(self, shape):
        return 3

    def filled(self, shape, inputs):
        return [one[0][0] for one in inputs] + [0.0] * (3 - len(inputs))

    def infer(self, prepared):
        time.sleep(0.01)
        return {"": np.array(prepared.inputs, np.float32), "process": np.full(3, os.getpid())}


@dataclasses.dataclass(frozen=True, eq=False)
class Length(TextScorer):
    @property
    def columns(self):
        return {"": pa.float32(), "process": pa.int64()}

    def load(self):
        return Loaded()


recipe = Pool.parquet("pool/*.parquet", text="text") | Score(n=Length()) | Keep(col("n") >= 0)
"""


def test_there_are_as_many_copies_as_processes_that_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own model, two shards at a time; a process has one copy, whichever shard came first."""
    monkeypatch.chdir(tmp_path)
    Path("pool").mkdir()
    for shard in range(6):
        pq.write_table(pa.table({"text": ["a" * (i + 1) for i in range(20)]}), f"pool/{shard}.parquet")
    Path("recipe.py").write_text(PYTHONS)
    done = CliRunner().invoke(main, ["run", "recipe.py", "--out", "out", "--workers", "2"])
    assert done.exit_code == 0, done.output
    folder = next(Path("out/decisions").iterdir())
    made = msgspec.convert(json.loads((folder / "summary.json").read_text())["work"]["models"]["n"], ModelWork)
    processes = pc.count_distinct(ledger(tmp_path / "out")["n.process"]).as_py()
    assert (made.loads, made.rows, made.taken, made.places) == (processes, 120, 120, 3 * made.batches)
    assert (" copies)" in done.output) == (processes > 1)
    assert made.infer_seconds >= 0.01 * made.batches  # `sleep` never returns early


def test_what_endpoints_were_asked_has_a_line_of_its_own() -> None:
    work = ModelWork(rows=4096, requests=4102, retries=6, failed=12, tokens_in=1_200_000, tokens_out=31_000, cost=1.844)
    done = Work(rows=4096, seconds={"edu": 90.0, "read": 10.0}, scored={"edu": 4096}, models={"edu": work})
    found = measured(facts("edu"), done)
    said = "edu: 4,102 requests (6 again) for 4,096 rows, 12 failed, 1.2 M tokens in, 31 k out, cost 1.84"
    assert [line.text.replace(NBSP, " ") for line in found.asked] == [said]
    assert not found.models
    assert found.text.replace(NBSP, " ") == (
        "Scoring edu is the bottleneck: 90 % of the work time at 46 rows/s. It waits for its endpoint: a larger "
        "concurrency would help, if the server has room for it."
    )
    assert msgspec.convert(json.loads(msgspec.json.encode(found)), Throughput) == found
    free = ModelWork(rows=1, requests=1, uncounted=1)
    (line,) = measured(facts("edu"), Work(rows=1, models={"edu": free}, scored={"edu": 1})).asked
    assert line.text == "edu: 1 request for 1 row, 1 answer without counts of tokens" and line.cost is None
