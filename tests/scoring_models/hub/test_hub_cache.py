"""Models of the Hub, fetched by the real client from a server in a thread: once a machine, whole, and for a limited time."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.hub.files import check_hash
from tests.hub import COMMIT, Hub

pytest.importorskip("huggingface_hub")

NAMES = ("config.json", "tokenizer.json", "model.safetensors")

FETCH = """
import hashlib, sys
from poolsieve.scoring_models.hub.cache import fetch
for name in ("config.json", "vocab.txt", "tokenizer.json", "model.safetensors"):
    path = fetch("own/model", {revision!r}, name)
    print(name, hashlib.sha256(path.read_bytes()).hexdigest() if path else None)
"""
UNPINNED, PINNED = FETCH.format(revision=None), FETCH.format(revision=COMMIT)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A repository: weights of 256 KiB that don't compress, and two small files."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in NAMES:
        size = 2**18 if name.endswith("safetensors") else 100
        (folder / name).write_bytes(random.Random(name).randbytes(size))
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "hf"


@pytest.fixture
def hub(files: Path) -> Iterator[Hub]:
    made = Hub({"own/model": files})
    yield made
    made.stop()


def listing(files: Path) -> str:
    """What `FETCH` says of these files."""
    found = {name: hashlib.sha256((files / name).read_bytes()).hexdigest() for name in NAMES}
    return "".join(f"{name} {found.get(name)}\n" for name in ("config.json", "vocab.txt", *NAMES[1:]))


def refusal(hub: Hub, home: Path, code: str = UNPINNED, **more: str) -> str:
    """The message of the `PlanError` that a process ends with."""
    found = hub.run(code, home, **more)
    assert found.returncode == 1
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith("poolsieve.scoring_models.base.errors.PlanError: "), found.stderr[-1500:]
    return last.partition(": ")[2]


def cached(home: Path) -> list[str]:
    """Names of the model files that the cache has."""
    return sorted(path.name for path in home.glob("hub/models--*/snapshots/*/*"))


def test_processes_that_begin_at_once_download_each_file_once(hub: Hub, home: Path, files: Path) -> None:
    hub.slow = dict.fromkeys(NAMES, 0.01)
    processes = [hub.start(UNPINNED, home) for _ in range(3)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert [out for out, _ in said] == [listing(files)] * 3
    assert {name: hub.counts["GET", name] for name in NAMES} == dict.fromkeys(NAMES, 1)


def test_what_a_killed_process_leaves_is_not_taken_for_whole(hub: Hub, home: Path, files: Path) -> None:
    (files / "model.safetensors").write_bytes(random.Random(1).randbytes(24 * 2**20))  # written in pieces of 10 MB
    hub.stuck = {"model.safetensors"}
    process = hub.start(UNPINNED, home)
    until = time.monotonic() + 60
    while not any(path.stat().st_size > 2**20 for path in home.glob("hub/models--*/blobs/*.incomplete")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert "model.safetensors" not in cached(home)
    hub.stuck = set()
    assert hub.run(UNPINNED, home).stdout == listing(files)
    assert hub.counts["GET", "model.safetensors"] == 2


def test_offline_a_filled_cache_is_enough_and_no_request_is_made(hub: Hub, home: Path, files: Path) -> None:
    assert hub.run(UNPINNED, home).stdout == listing(files)
    hub.counts.clear()
    for code in (UNPINNED, PINNED):
        found = hub.run(code, home, HF_HUB_OFFLINE="1")
        assert found.stdout == listing(files), found.stderr
        assert "warn" not in found.stderr.lower()
    assert not hub.counts


def test_a_commit_that_the_cache_has_is_taken_without_a_request(hub: Hub, home: Path, files: Path) -> None:
    assert hub.run(PINNED, home).stdout == listing(files)
    hub.counts.clear()
    assert hub.run(PINNED, home).stdout == listing(files)
    assert not hub.counts


@pytest.mark.parametrize("code", [UNPINNED, PINNED], ids=["branch", "commit"])
def test_offline_without_the_files_is_refused_and_says_what_to_do(code: str, hub: Hub, home: Path) -> None:
    said = refusal(hub, home, code, HF_HUB_OFFLINE="1")
    for part in (
        "hf-hub:own/model is not in the cache",
        str(home),
        "HF_HUB_OFFLINE is set",
        "run once",
        "local folder",
    ):
        assert part in said
    assert not hub.counts


def test_offline_with_half_of_the_files_is_refused_too(hub: Hub, home: Path) -> None:
    assert hub.run(UNPINNED.replace('"model.safetensors"', ""), home).returncode == 0
    assert "(model.safetensors, revision cccc" in refusal(hub, home, HF_HUB_OFFLINE="1")


def test_a_hub_that_is_away_leaves_what_the_cache_has_and_it_is_said_which(hub: Hub, home: Path, files: Path) -> None:
    assert hub.run(UNPINNED, home).stdout == listing(files)
    away = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    found = hub.run(UNPINNED, home, **away)
    assert found.stdout == listing(files)
    said = found.stderr.splitlines()
    assert len(said) == 1
    assert "the hub at http://127.0.0.1:9 can't be reached" in said[0]
    assert f"going on with commit {COMMIT}, which the cache has as 'main'" in said[0]
    found = hub.run(PINNED, home, **away)
    assert (found.stdout, found.stderr) == (listing(files), "")


def test_a_hub_that_is_away_without_a_cache_is_one_message(hub: Hub, home: Path) -> None:
    for code in (UNPINNED, PINNED):
        said = refusal(hub, home, code, HF_ENDPOINT="http://127.0.0.1:9")
        assert "can't be reached for config.json of hf-hub:own/model (" in said
        assert "check the network" in said and "local folder" in said


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ((401, "GatedRepo"), ["hf-hub:own/model is gated", "hf auth login", "HF_TOKEN"]),
        ((403, "GatedRepo"), ["hf-hub:own/model is gated", "hf auth login"]),
        ((401, ""), ["hf-hub:own/model is not on the hub", "private", "hf auth login"]),
        ((404, "RepoNotFound"), ["hf-hub:own/model is not on the hub", "check its name", "hf auth login"]),
        ((403, ""), ["does not let you read hf-hub:own/model (403)", "hf auth login"]),
        ((404, "RevisionNotFound"), ["hf-hub:own/model has no revision 'main'"]),
        ((503, ""), ["answers 503", "hf-hub:own/model", "try again later"]),
    ],
)
def test_refusals_name_the_model_and_what_to_do(
    answer: tuple[int, str], parts: list[str], hub: Hub, home: Path
) -> None:
    hub.answers = answer
    said = refusal(hub, home)
    assert [part for part in parts if part not in said] == []


def test_a_model_that_became_gated_is_still_taken_from_the_cache(hub: Hub, home: Path, files: Path) -> None:
    assert hub.run(UNPINNED, home).stdout == listing(files)
    hub.answers = (403, "GatedRepo")
    found = hub.run(UNPINNED, home)
    assert found.stdout == listing(files)
    assert "is gated" in found.stderr and f"going on with commit {COMMIT}" in found.stderr


def test_a_size_that_is_not_true_is_refused_and_nothing_is_kept(hub: Hub, home: Path) -> None:
    hub.wrong_size = {"model.safetensors": 2**18 + 7}
    said = refusal(hub, home)
    assert "model.safetensors of hf-hub:own/model arrived with another size than the hub names" in said
    assert "model.safetensors" not in cached(home)
    assert not list(home.glob("hub/models--*/blobs/*.incomplete"))


def test_a_hub_that_does_not_answer_is_waited_for_a_limited_time(hub: Hub, home: Path) -> None:
    hub.stalled = True
    said = refusal(hub, home, HF_HUB_ETAG_TIMEOUT="1")
    assert "can't be reached for config.json of hf-hub:own/model (" in said
    assert hub.counts["HEAD", "config.json"] == 3


def test_a_download_that_stops_half_way_is_waited_for_a_limited_time(hub: Hub, home: Path) -> None:
    hub.stuck = {"model.safetensors"}
    said = refusal(hub, home, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert "can't be reached for model.safetensors of hf-hub:own/model (" in said
    assert "model.safetensors" not in cached(home)


def test_a_cache_that_is_a_file_is_refused_by_name(hub: Hub, home: Path) -> None:
    home.write_text("no folder")
    said = refusal(hub, home)
    assert f"the cache {home}/hub can't be written for config.json of hf-hub:own/model" in said and "HF_HOME" in said


AS_NOBODY = """
import hashlib, os
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from poolsieve.scoring_models.hub.cache import fetch
get_hf_file_metadata(hf_hub_url("own/model", "config.json"))
if os.getuid() == 0: os.seteuid(65534)
"""
"""Root may write everywhere. Python's own files may be root's alone, so that what a request needs is imported before."""


def test_a_cache_that_is_read_only_is_refused_by_name_unless_it_has_all(hub: Hub, files: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # where any user may look, unlike pytest's
        os.chmod(folder, 0o755)
        home = Path(folder) / "hf"
        (home / "hub").mkdir(parents=True)
        (home / "hub").chmod(0o555)
        said = refusal(hub, home, AS_NOBODY + UNPINNED)
        assert f"the cache {home}/hub can't be written" in said and "HF_HOME" in said
        (home / "hub").chmod(0o755)
        assert hub.run(UNPINNED, home).returncode == 0
        held = [home, *home.rglob("*")]
        for path in held:
            path.chmod(0o555)
        found = hub.run(AS_NOBODY + UNPINNED, home)
        for path in held:
            path.chmod(0o755)
        assert found.stdout == listing(files), found.stderr


FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
"""The system refuses to let files grow, as on a full disk."""


def test_a_full_disk_is_said_and_nothing_half_is_kept(hub: Hub, home: Path, files: Path) -> None:
    said = refusal(hub, home, FULL + UNPINNED)
    assert f"no space left in the cache {home}/hub for model.safetensors of hf-hub:own/model" in said
    assert "HF_HOME" in said and "model.safetensors" not in cached(home)
    assert hub.run(UNPINNED, home).stdout == listing(files)


MOVED = """
from poolsieve.scoring_models.hub.cache import commits, fetch
print(fetch("own/model", "main", "config.json").parent.name)
input()
print(fetch("own/model", "main", "model.safetensors").parent.name, commits())
"""


def test_a_push_while_a_process_works_does_not_mix_two_commits(hub: Hub, home: Path) -> None:
    process = hub.start(MOVED, home, PYTHONUNBUFFERED="1")
    assert process.stdout is not None
    assert process.stdout.readline().strip() == COMMIT
    with hub.lock:
        hub.commits["own/model"] = "d" * 40
        hub.also = {COMMIT}
    out, err = process.communicate("\n", timeout=60)
    assert out.split()[0] == COMMIT, err
    assert hub.run(MOVED, home, HF_HUB_OFFLINE="1").returncode == 1  # input() has nothing to read


WORKER = f"""
from poolsieve.scoring_models.hub.cache import use_commits
use_commits({{("own/model", "main"): "{COMMIT}"}})
"""


def test_a_worker_takes_the_commit_that_the_plan_had(hub: Hub, home: Path, files: Path) -> None:
    assert hub.run(UNPINNED, home).stdout == listing(files)
    hub.commits["own/model"] = "d" * 40
    hub.counts.clear()
    assert hub.run(WORKER + UNPINNED, home).stdout == listing(files)
    assert not hub.counts


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_file_that_was_damaged_in_the_cache_is_refused(damage: str, tmp_path: Path) -> None:
    data = b"weights" * 100
    blob = tmp_path / "blobs" / hashlib.sha256(data).hexdigest()
    link = tmp_path / "snapshots" / COMMIT / "model.safetensors"
    blob.parent.mkdir()
    link.parent.mkdir(parents=True)
    blob.write_bytes(data)
    link.symlink_to(blob)
    check_hash(link, hashlib.sha256(data).hexdigest())
    broken = data[:-1] + b"S" if damage == "flip" else data[:-1]
    with pytest.raises(PlanError, match=rf"model\.safetensors is damaged.*Remove {blob}"):
        check_hash(link, hashlib.sha256(broken).hexdigest())


DEMO = Path(__file__).parents[3] / "recipes" / "demo" / "celadon"

MODELS = """
import pyarrow as pa
from poolsieve.scoring_models import Celadon, Tokens
from poolsieve.scoring_models.hub.checkpoints import load_tokenizer
toxic, tokens = Celadon("own/celadon", backend="torch"), Tokens("own/celadon")
print(sorted(toxic.files()), sorted(tokens.files()))
load_tokenizer(toxic.files())
batch = pa.record_batch({"text": ["some words", None]})
for _ in range(5):
    print(tokens.score(batch).columns[""].to_pylist())
"""


def test_loading_and_scoring_ask_the_hub_once_a_process_and_download_once_a_machine(home: Path) -> None:
    pytest.importorskip("transformers")
    hub = Hub({"own/celadon": DEMO})
    try:
        first = hub.run(MODELS, home)
        assert first.returncode == 0, first.stderr[-1500:]
        assert {hub.counts["GET", name] for name in NAMES} == {1}
        hub.counts.clear()
        assert hub.run(MODELS, home).stdout == first.stdout
        assert [method for method, _ in hub.counts] == ["HEAD"] and hub.counts.total() == 2
        hub.counts.clear()
        offline = hub.run(MODELS, home, HF_HUB_OFFLINE="1")
        assert offline.stdout == first.stdout, offline.stderr[-1500:]
        assert not hub.counts
    finally:
        hub.stop()


PLAN = """
import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models import Tokens
recipe = Pool.jsonl("pool/*.jsonl", text="text") | Score(tokens=Tokens("own/celadon")) | Keep(col("tokens") >= 2)
print(poolsieve.run(recipe, "OUT").counts.kept)
"""


def test_a_run_refuses_a_damaged_cache_before_it_starts(home: Path, tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a.jsonl").write_text('{"text": "some words of it"}\n')
    hub = Hub({"own/celadon": DEMO})
    code = f"import os; os.chdir({str(tmp_path)!r})\n{PLAN}"
    try:
        assert hub.run(code, home).stdout == "1\n"
        held = next(home.glob("hub/models--own--celadon/snapshots/*/tokenizer.json")).resolve()
        held.write_text(held.read_text() + " ")
        said = refusal(hub, home, code)
        assert "tokenizer.json is damaged" in said and f"Remove {held}" in said
        held.unlink()
        assert hub.run(code, home).stdout == "1\n"
    finally:
        hub.stop()


PLANNED = """
import pickle
from poolsieve.dataflow import Pool
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models import Tokens
recipe = Pool.jsonl("pool/*.jsonl", text="text") | Score(tokens=Tokens("own/celadon")) | Keep(col("tokens") >= 2)
open("job", "wb").write(pickle.dumps(prepare(recipe, "OUT").job))
"""

WORKED = """
import pickle
job = pickle.loads(open("job", "rb").read())
print(job.program.scorers[0].scorer.files()["tokenizer.json"].parent.name)
"""


def test_the_plan_carries_its_commits_to_the_workers(home: Path, tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a.jsonl").write_text('{"text": "some words of it"}\n')
    hub = Hub({"own/celadon": DEMO})
    there = f"import os; os.chdir({str(tmp_path)!r})\n"
    try:
        planned = hub.run(there + PLANNED, home)
        assert planned.returncode == 0, planned.stderr[-1500:]
        hub.commits["own/celadon"] = "d" * 40
        hub.counts.clear()
        worked = hub.run(there + WORKED, home)
        assert worked.stdout.split() == [COMMIT], worked.stderr[-1500:]
        assert not hub.counts
    finally:
        hub.stop()
