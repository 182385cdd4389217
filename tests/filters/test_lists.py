"""Lists of uids: what a file says is what is looked up, and a file that says something else is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.filters.lists import counts_in, load_list, pairs_of
from poolsieve.scoring_models.base.errors import PlanError

UIDS = [f"{i:016x}{2 * i + 1:016x}" for i in (3, 1, 2, 1 << 60)]
HALVES = [(i, 2 * i + 1) for i in (3, 1, 2, 1 << 60)]


def saved(path: Path, array: Any) -> str:
    np.save(path, array)
    return str(path)


def found(path: str, uids: list[str]) -> list[int]:
    return counts_in(pairs_of(pa.array(uids)), load_list(path)).tolist()


@pytest.mark.parametrize(
    "dtype",
    [
        "<u8,<u8",
        ">u8,>u8",
        "<u8,>u8",
        [("high", "u8"), ("low", "u8")],
        np.dtype([("high", "<u8"), ("low", "<u8")], align=True),
        np.dtype({"names": ["high", "low"], "formats": ["<u8", "<u8"], "offsets": [0, 8], "itemsize": 24}),
    ],
    ids=str,
)
@pytest.mark.parametrize("ascending", [True, False])
def test_pairs_of_any_byte_order_and_layout_are_read_by_value(tmp_path: Path, dtype: Any, ascending: bool) -> None:
    path = saved(tmp_path / "list.npy", np.array(sorted(HALVES) if ascending else HALVES, dtype=dtype))
    assert found(path, [*UIDS, f"{9:032x}"]) == [1, 1, 1, 1, 0]


@pytest.mark.parametrize("dtype", ["f8,f8", "S8,S8", "i8,i8", "u4,u4", "M8[s],M8[s]", "u8,u8,u8", "u16", "c16"])
def test_other_dtypes_are_refused(tmp_path: Path, dtype: str) -> None:
    if dtype == "u16":
        array: Any = np.arange(4, dtype="u2")
    else:
        array = np.zeros(4, dtype=dtype)
    path = saved(tmp_path / "list.npy", array)
    with pytest.raises(PlanError, match=r"list\.npy: dtype .* is not DataComp's 'u8,u8'"):
        load_list(path)


@pytest.mark.parametrize("shape", [(), (2, 2), (4, 1)])
def test_a_list_has_one_dimension(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = saved(tmp_path / "list.npy", np.zeros(shape, dtype="u8,u8"))
    with pytest.raises(PlanError, match=r"list\.npy: the array has shape .*, a list has one dimension"):
        load_list(path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY\x01\x00", b"not an array"])
def test_a_file_that_is_no_array_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "list.npy").write_bytes(data)
    with pytest.raises(PlanError, match=r"can't read the list .*list\.npy"):
        load_list(str(tmp_path / "list.npy"))


def test_a_header_that_python_cannot_tokenize_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "list.npy", np.zeros(2, dtype="u8,u8"))
    data = (tmp_path / "list.npy").read_bytes()
    (tmp_path / "list.npy").write_bytes(data.replace(b"(2,)", b"(2,("))
    with pytest.raises(PlanError, match=r"can't read the list .*list\.npy"):
        load_list(str(tmp_path / "list.npy"))


def test_a_parquet_list_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    bad = pa.array([b"\xff" * 32], pa.binary()).view(pa.string())  # as other writers leave it
    pq.write_table(pa.table({"uid": bad}), path)
    with pytest.raises(PlanError, match=r"can't read the list .*list\.parquet"):
        load_list(str(path))


def test_an_archive_of_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "list.npz", a=np.zeros(2, dtype="u8,u8"))
    (tmp_path / "list.npz").rename(tmp_path / "list.npy")
    with pytest.raises(PlanError, match=r"list\.npy: it is an archive of arrays"):
        load_list(str(tmp_path / "list.npy"))


def test_an_empty_list_has_nobody(tmp_path: Path) -> None:
    assert found(saved(tmp_path / "list.npy", np.zeros(0, dtype="u8,u8")), UIDS) == [0, 0, 0, 0]


def test_a_byte_order_mark_is_no_part_of_the_first_uid(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(["plain", *UIDS[:2]]), encoding="utf-8-sig")
    assert found(str(path), ["plain", *UIDS]) == [1, 1, 1, 0, 0]


def test_a_null_of_a_parquet_list_lists_nobody(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"uid": pa.array([None, UIDS[0]])}), path)
    assert found(str(path), ["", *UIDS[:2]]) == [0, 1, 0]
