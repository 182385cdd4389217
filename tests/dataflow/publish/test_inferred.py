"""What `datasets` makes of files without a schema, and of files that it can't read."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from poolsieve.dataflow.publish.inferred import inferred_schema


def tar_of(path: Path, names: list[str]) -> str:
    with tarfile.open(path, "w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"{}"))
    return str(path)


def test_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1, "b": [{"c": "x"}]}\n{"a": 2.5, "b": []}\n')
    found = inferred_schema(str(tmp_path / "a.jsonl"), "jsonl")
    assert found is not None and found.field("a").type == pa.float64()
    assert found.field("b").type == pa.list_(pa.struct([("c", pa.string())]))


def test_lines_elsewhere() -> None:
    with fsspec.open("memory://inferred/a.jsonl", "wb") as file:
        file.write(b'{"a": 1}\n')
    found = inferred_schema("memory://inferred/a.jsonl", "jsonl")
    assert found is not None and found.names == ["a"]


@pytest.mark.parametrize("text", ["", "{", "\x00", "[1, 2", '{"a": 1}\n{"a": ', "nonsense\n"])
def test_lines_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    assert inferred_schema(str(tmp_path / "a.jsonl"), "jsonl") is None


def test_samples_that_differ_are_not_described(tmp_path: Path) -> None:
    assert inferred_schema(tar_of(tmp_path / "a.tar", ["1.json", "1.txt", "2.json"]), "webdataset") is None
    found = inferred_schema(tar_of(tmp_path / "b.tar", ["1.txt", "2.txt"]), "webdataset")
    assert found is not None and found.names == ["txt", "__key__", "__url__"]


def test_other_formats_are_not_asked_about(tmp_path: Path) -> None:
    assert inferred_schema(str(tmp_path / "nothing"), "tokens") is None
