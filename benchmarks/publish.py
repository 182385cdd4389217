"""Requests and bytes of `poolsieve publish` against a loopback Hub, by the Hub's own count; and of a peer beside it.

    python benchmarks/publish.py --files 20 --megabytes 40

First: everything is new. Second: nothing has changed. Moved cut: a limit moved so that one file in four changed. Killed:
the process is killed after half of the files had arrived, and the command is run again. The peer is `upload_folder` of
`huggingface_hub`, by the same path (Git LFS: a loopback Hub has no Xet), for the first and for the moved cut.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))
import poolsieve
from poolsieve.filters import Keep, col
from tests.hub_server import Fault, HubServer

ROWS = 200
"""Of a file of the pool."""


def pool(folder: Path, files: int, megabytes: int) -> str:
    """Files of random bytes; the rule's limit moves through one file in four."""
    folder.mkdir()
    size = (megabytes << 20) // files // ROWS
    for number in range(files):
        rng = np.random.default_rng(number)
        rows = range(number * ROWS, (number + 1) * ROWS)
        width = [100 + (i % 50 if number % 4 == 0 else 50) for i in rows]
        blobs = [rng.bytes(size) for _ in rows]
        table = pa.table({"uid": [f"{i:032x}" for i in rows], "text": ["x"] * ROWS, "width": width, "blob": blobs})
        pq.write_table(table, folder / f"{number:05d}.parquet")
    return f"{folder}/*.parquet"


def decided(urls: str, out: Path, least: int) -> None:
    """A run, and its export, a file for each of the pool's."""
    given = poolsieve.Pool.parquet(urls, uid="uid", text="text")
    poolsieve.run(given | Keep(col("width") >= least, reason="image.narrow"), out)
    poolsieve.export(out, target_bytes=1, replace=True)


def publish(hub: HubServer, out: Path, repo: str) -> subprocess.Popen[bytes]:
    """The command, as a process of its own."""
    words = ["publish", str(out), "--repo", repo, "--license", "cc0-1.0"]
    env = hub.environment(out.parent / "home")
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-m", "poolsieve.jobs.cli", *words], env=env, stdout=quiet, stderr=quiet)


def peer(hub: HubServer, out: Path, repo: str) -> subprocess.Popen[bytes]:
    """`upload_folder` of the same files; what an earlier version had goes."""
    code = f"""
from huggingface_hub import HfApi
api = HfApi()
api.create_repo({repo!r}, repo_type="dataset", exist_ok=True)
api.upload_folder(repo_id={repo!r}, repo_type="dataset", folder_path={str(out / "export")!r},
                  allow_patterns="data/*", delete_patterns="data/*")
"""
    env = hub.environment(out.parent / "home", HF_HUB_DISABLE_XET="1")
    return subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.DEVNULL)


def tell(what: str, hub: HubServer, repo: str, seconds: float) -> None:
    """One line of the table, and counts anew."""
    put = hub.count("PUT")
    sent = hub.received() / (1 << 20)
    commits = len(hub.repos[repo].commits()) if repo in hub.repos else 0
    print(f"{what:34} {len(hub.requests):9} {put:7} {sent:9.2f} {commits:8} {seconds:8.1f}")
    hub.forget()


def done(what: str, hub: HubServer, process: subprocess.Popen[bytes], repo: str) -> None:
    """Waits, and tells."""
    start = time.perf_counter()
    assert process.wait(600) == 0, what
    tell(what, hub, repo, time.perf_counter() - start)


def killed(hub: HubServer, out: Path, repo: str, files: int) -> None:
    """Killed when half of the files have arrived, and run again."""
    fault = Fault("PUT", "/lfs/", delay=60, skip=files // 2, times=100)
    hub.faults.append(fault)
    process, start = publish(hub, out, repo), time.perf_counter()
    while fault.times == 100 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.faults.clear()
    tell("killed half way", hub, repo, time.perf_counter() - start)
    done("... and run again", hub, publish(hub, out, repo), repo)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=40)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, HubServer() as hub:
        out = Path(folder) / "out"
        urls = pool(Path(folder) / "pool", given.files, given.megabytes)
        decided(urls, out, 110)
        print(f"{'':34} {'requests':>9} {'PUTs':>7} {'MiB sent':>9} {'commits':>8} {'seconds':>8}")
        done("publish: first", hub, publish(hub, out, "org/ours"), "org/ours")
        done("publish: second", hub, publish(hub, out, "org/ours"), "org/ours")
        hub.objects.clear()
        done("upload_folder: first", hub, peer(hub, out, "org/peer"), "org/peer")
        decided(urls, out, 120)
        done("publish: a moved cut", hub, publish(hub, out, "org/ours"), "org/ours")
        hub.objects.clear()
        hub.objects.update(_objects(hub, "org/peer"))
        done("upload_folder: a moved cut", hub, peer(hub, out, "org/peer"), "org/peer")
        hub.objects.clear()
        killed(hub, out, "org/killed", given.files)


def _objects(hub: HubServer, repo: str) -> dict[str, bytes]:
    """What one repository's large files are, so that another's don't help it."""
    from tests.hub_store import sha256

    return {sha256(entry.data): entry.data for entry in hub.repos[repo].at().files.values() if entry.lfs}


if __name__ == "__main__":
    main()
