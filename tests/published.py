"""What a published repository and an export's folder hold, by path in the repository."""

from __future__ import annotations

from pathlib import Path


def data(files: dict[str, bytes]) -> dict[str, bytes]:
    """Of a repository's files those with rows."""
    return {path: contents for path, contents in files.items() if path.startswith("data/")}


def exported(out: Path) -> dict[str, bytes]:
    """The same files where they were written."""
    return {f"data/{path.name}": path.read_bytes() for path in sorted((out / "export" / "data").iterdir())}
