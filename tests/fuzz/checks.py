"""The invariants, asked of an OUT as it stands on disk, with no help from the code that wrote it but the file names."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

Row = dict[str, Any]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def visible(out: Path) -> list[str]:
    """Whoever reads `manifest.json` finds every ledger file that it names, whole."""
    return list(_visible(out))


def _visible(out: Path) -> Iterator[str]:
    manifest = json.loads((out / "manifest.json").read_text())
    folder = out / manifest["ledger"]
    lines = pq.read_table(folder.parent / "shards.parquet").to_pylist()
    for line in lines:
        path = folder / f"{line['name']}.parquet"
        if not path.exists():
            yield f"the manifest's ledger of {line['path']} is not there"
        elif path.stat().st_size != line["ledger_bytes"] or sha256(path) != line["ledger_sha256"]:
            yield f"the ledger of {line['path']} is not the one that was recorded"
    for name in ("cuts.json", "summary.json"):
        json.loads((folder.parent / name).read_text())


def adds_up(out: Path) -> list[str]:
    """Conservation: for each shard and for the run, and each row's number once."""
    return list(_adds_up(out))


def _adds_up(out: Path) -> Iterator[str]:
    manifest = json.loads((out / "manifest.json").read_text())
    decision = (out / manifest["ledger"]).parent
    total: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for line in pq.read_table(decision / "shards.parquet").to_pylist():
        rows = pq.read_table(decision / "ledger" / f"{line['name']}.parquet").to_pylist()
        counted = counts(rows)
        if counted != {name: line[name] for name in counted}:
            yield f"{line['path']}: the ledger has {dict(counted)}, shards.parquet says {line}"
        if [row["row"] for row in rows] != list(range(line["start"], line["start"] + len(rows))):
            yield f"{line['path']}: rows are not numbered from {line['start']} on"
        total.update(counted)
        reasons.update(row["reason"] for row in rows if not row["keep"])
    said = {"rows" if name == "in" else name: value for name, value in manifest["rows"].items()}
    if said != dict(total) or said["rows"] != said["kept"] + said["dropped"] + said["quarantined"]:
        yield f"the manifest says {said}, the ledgers {dict(total)}"
    if dict(reasons) != manifest["reasons"]:
        yield f"the manifest's reasons are {manifest['reasons']}, the ledgers' {dict(reasons)}"


def counts(rows: Sequence[Row]) -> Counter[str]:
    """rows, kept, dropped, quarantined of ledger lines; a line is kept exactly if it has no reason."""
    assert all(row["keep"] == (row["reason"] is None) for row in rows)
    kept = sum(row["keep"] for row in rows)
    bad = sum((row["reason"] or "").startswith("quarantine.") for row in rows)
    return Counter(rows=len(rows), kept=kept, dropped=len(rows) - kept - bad, quarantined=bad)


def ledgers(out: Path) -> dict[str, list[Row]]:
    """Pool file -> its ledger lines."""
    found: dict[str, list[Row]] = {}
    for line, path in _files(out):
        found.setdefault(line["path"], []).extend(pq.read_table(path).to_pylist())
    return found


def ledger_bytes(out: Path) -> dict[str, str]:
    """Ledger file -> SHA-256, of the current decision."""
    return {path.name: sha256(path) for _, path in _files(out)}


def _files(out: Path) -> list[tuple[Row, Path]]:
    folder = out / json.loads((out / "manifest.json").read_text())["ledger"]
    lines = pq.read_table(folder.parent / "shards.parquet").to_pylist()
    return [(line, folder / f"{line['name']}.parquet") for line in lines]


def subset(out: Path) -> list[str]:
    """`subset.npy`, where there is one, names the kept rows and no others."""
    path = (out / json.loads((out / "manifest.json").read_text())["ledger"]).parent / "subset.npy"
    if not path.exists():
        return []
    named = Counter(f"{int(high):016x}{int(low):016x}" for high, low in np.load(path, allow_pickle=False))
    return [] if named == kept_uids(out) else [f"subset.npy names {len(named)} rows, {kept_uids(out).total()} are kept"]


def kept_uids(out: Path) -> Counter[str]:
    """uid -> rows that were kept with it, in the form that `subset.npy` has."""
    return Counter(row["uid"].lower() for rows in ledgers(out).values() for row in rows if row["keep"])


def exported(out: Path, target: Path, may_lose: bool = False) -> list[str]:
    """Loss-free: as many rows left as were kept, under the uids under which they were kept.

    `may_lose`: bytes that no rule reads may be damaged; then a row is kept and can't leave, and is counted.
    """
    index = json.loads((target / "_export.json").read_text())
    kept = [row for rows in ledgers(out).values() for row in rows if row["keep"]]
    found = []
    if index["rows"] + index["unreadable"] != len(kept) or (index["unreadable"] and not may_lose):
        found.append(f"{len(kept)} rows are kept, {index['rows']} left, {index['unreadable']} could not be read")
    for file in index["files"]:
        data = (target / file["name"]).read_bytes()
        if len(data) != file["bytes"] or hashlib.sha256(data).hexdigest() != file["sha256"]:
            found.append(f"{file['name']} is not the file that _export.json names")
    uids = Counter(uid for file in index["files"] for uid in _uids(target / file["name"]) if uid is not None)
    strange = uids - Counter(row["uid"] for row in kept)
    return found + [f"{uid!r} was exported and is not kept" for uid in list(strange)[:3]]


def _uids(path: Path) -> Iterator[str | None]:
    if path.name.endswith(".parquet"):
        table = pq.read_table(path, columns=["uid"]).column("uid")
        yield from (_of_column(value) for value in table.cast(pa.binary()).to_pylist())
    elif path.name.endswith(".tar"):
        with tarfile.open(path) as archive:
            for info in archive:
                file = archive.extractfile(info) if info.name.endswith(".json") else None
                yield _uid(file.read()) if file else None
    else:
        yield from (_uid(line) for line in unpacked(path).split(b"\n") if line.strip())


def _of_column(data: bytes | None) -> str | None:
    """A column of values that have no one type is JSON text; what is no text in it is no uid, nor is what is no UTF-8."""
    value = (data or b"").decode(errors="replace")
    if "\ufffd" in value or data is None or value in ("true", "false") or value[:1] in ("{", "["):
        return None
    return str(json.loads(value)) if value.startswith('"') else value


def _uid(data: bytes) -> str | None:
    try:
        uid = json.loads(data)["uid"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return uid if isinstance(uid, str) else None


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    if path.name.endswith(".gz"):
        return gzip.decompress(data)
    if path.name.endswith(".zst"):
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    return data


def fence(folder: Path, *but: Path) -> dict[str, str]:
    """Every file below a folder with its hash, but for some subfolders: what no command may touch."""
    files = [path for path in folder.rglob("*") if not any(path.is_relative_to(one) for one in but)]
    return {
        str(path.relative_to(folder)): sha256(path) if path.is_file() else "folder"
        for path in sorted(files)
        if path.is_file() or path.is_dir()
    }


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What was written or removed on the other side of a fence."""
    return [
        f"written or removed outside: {name}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def canaries(folder: Path) -> None:
    """Files that nobody has any business with."""
    for place in ("canary", "deep/canary", "pool-2", "export"):
        (folder / place).mkdir(parents=True)
        (folder / place / "x.txt").write_text("a canary")
        (folder / place / "data.parquet").write_text("a canary")
