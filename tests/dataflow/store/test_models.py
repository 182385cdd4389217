"""Models on a storage of the user's: filled from the hub's cache, read where no hub is, once a machine; or as the cache."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.dataflow.store.models import ModelStorage
from tests.conftest import write_pool
from tests.hub import COMMIT, Hub

pytest.importorskip("huggingface_hub")

FETCH = """
from poolsieve.dataflow.store.models import ModelStorage, local_files, upload, use_models
from poolsieve.scoring_models.hub.cache import commits, fetch
def files():
    names = ("config.json", "vocab.txt", "onnx.json", "weights.bin")
    return {name: path for name in names if (path := fetch("own/model", None, name)) is not None}
"""
SAY = "print(sorted((name, path.stat().st_size) for name, path in files().items()))\n"
LISTING = str(sorted({"config.json": 2, "onnx.json": 3, "weights.bin": 300_000}.items())) + "\n"

RECIPE = """
from dataclasses import dataclass
import json
import pyarrow as pa
from poolsieve.dataflow import Pool
from poolsieve.filters import Score, Top
from poolsieve.scoring_models.base.scorer import Scored, TextScorer
from poolsieve.scoring_models.hub.cache import fetch

@dataclass(frozen=True, eq=False)
class Weighed(TextScorer):
    columns = {"": pa.float32()}

    def files(self):
        return {"config.json": fetch("own/model", None, "config.json")}

    def score(self, batch):
        factor = len(json.loads(self.files()["config.json"].read_text())) + 1.5
        return Scored({"": pa.array([t and len(t) * factor for t in batch.column("text").to_pylist()], pa.float32())})

def recipe(pool: str):
    return Pool.parquet(pool, uid="uid", text="text") | Score(weight=Weighed()) | Top("weight", fraction=0.5)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "repository"
    folder.mkdir()
    for name, data in {"config.json": b"{}", "onnx.json": b"[1]", "weights.bin": bytes(300_000)}.items():
        (folder / name).write_bytes(data)
    made = Hub({"own/model": folder})
    yield made
    made.stop()


@pytest.fixture
def storage(hub: Hub, tmp_path: Path) -> Path:
    """Filled by a process that reached the hub; the hub is gone afterwards."""
    made = tmp_path / "models"
    code = f"{FETCH}print(upload([files()], commits(), {str(made)!r}))\n"
    filled = hub.run(code, tmp_path / "hf")
    assert filled.returncode == 0, filled.stderr
    assert len(eval(filled.stdout)) == 4, "three files, and the mark of the one that there is not"
    assert hub.run(code, tmp_path / "hf").stdout == "[]\n", "what is there stays"
    assert (made / "models--own--model/refs/main").read_text() == COMMIT
    hub.answers = (503, "")
    hub.counts.clear()
    return made


def test_workers_without_network_read_each_file_once_a_machine(hub: Hub, storage: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = f"""{FETCH}
import time
from poolsieve.scoring_models.hub import mirror
class Slow(ModelStorage):
    def copy(self, path, local):
        with open({str(log)!r}, "a") as file:
            file.write(path + "\\n")
        time.sleep(0.5)
        super().copy(path, local)
mirror.use_storage(Slow({str(storage)!r}))
{SAY}"""
    started = [hub.start(code, tmp_path / "worker", HF_HUB_OFFLINE="1") for _ in range(3)]
    said = [process.communicate(timeout=120) for process in started]
    assert [out for out, _ in said] == [LISTING] * 3, said
    copied = log.read_text().split()
    assert len(copied) == len(set(copied)) == 3, "by one process each, while the others waited"
    assert not hub.counts


def test_an_image_may_have_the_folder_as_its_cache(hub: Hub, storage: Path, tmp_path: Path) -> None:
    """Files that the model has not are known to be none, and are not looked for."""
    done = hub.run(FETCH + SAY, tmp_path / "nowhere", HF_HUB_CACHE=str(storage), HF_HUB_OFFLINE="1")
    assert (done.stdout, done.stderr) == (LISTING, "")


def test_what_is_in_neither_place_names_both(hub: Hub, storage: Path, tmp_path: Path) -> None:
    code = f"{FETCH}use_models({str(storage)!r})\nfetch('own/other', None, 'config.json')"
    done = hub.run(code, tmp_path / "worker", HF_HUB_OFFLINE="1")
    last = done.stderr.strip().splitlines()[-1]
    assert "hf-hub:own/other is not in the cache" in last and last.endswith(f"Nor is it in {storage} (--models)")


def test_a_file_that_arrives_short_is_not_taken(hub: Hub, storage: Path, tmp_path: Path) -> None:
    code = f"""{FETCH}
from poolsieve.scoring_models.hub import mirror
class Short(ModelStorage):
    def copy(self, path, local):
        with open(local, "wb") as file:
            file.write(b"x")
mirror.use_storage(Short({str(storage)!r}))
{SAY}"""
    done = hub.run(code, tmp_path / "worker", HF_HUB_OFFLINE="1")
    assert "has 2 bytes, and 1 of them arrived: run again" in done.stderr
    assert [path for path in (tmp_path / "worker").rglob("*config.json*") if path.suffix != ".lock"] == []


def test_a_storage_that_is_not_local() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/models/a/b.txt", b"abc")
    there = ModelStorage("memory://models")
    assert (there.read("a/b.txt"), there.size("a/b.txt"), there.has_folder("a")) == (b"abc", 3, True)
    assert (there.read("a/c.txt"), there.size("a/c.txt"), there.has_folder("c")) == (None, None, False)


def test_a_run_with_models_from_a_folder_is_the_run_with_the_hub(hub: Hub, tmp_path: Path) -> None:
    """`poolsieve models`, then `run --models` where no hub is and the cache is empty."""
    write_pool(tmp_path / "pool")
    recipe = tmp_path / "recipe.py"
    recipe.write_text(RECIPE)
    common = [str(recipe), "-p", f"pool={tmp_path}/pool/*.parquet"]

    def poolsieve(*arguments: str, home: str, **more: str) -> str:
        code = f"import sys; sys.argv[1:] = {list(arguments)!r}; from poolsieve.jobs.cli import main; main()"
        done = hub.run(code, tmp_path / home, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    poolsieve("run", *common, "--out", str(tmp_path / "one"), home="hf")
    models = str(tmp_path / "models")
    assert "new files in" in poolsieve("models", *common, "--out", str(tmp_path / "one"), "--to", models, home="hf")
    hub.answers = (503, "")
    poolsieve("run", *common, "--out", str(tmp_path / "two"), "--models", models, home="worker", HF_HUB_OFFLINE="1")
    one, two = (read_manifest(str(tmp_path / name)) for name in ("one", "two"))
    assert one.decision == two.decision and one.models == two.models
    assert json.loads((tmp_path / "two" / "manifest.json").read_text())["models"], sys.version
