"""Stored answers as files of every kind, and a plain loop that says what they come to."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Line = Mapping[str, Any]


def line(item: Any, model: str, image: Any, correct: Any, **more: Any) -> dict[str, Any]:
    return {"item": item, "model": model, "image": image, "correct": correct, **more}


def write(path: Path, lines: Sequence[Line]) -> str:
    """The lines in the format of the path's ending."""
    names = list(lines[0])
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(lines)), path, row_group_size=7)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(lines)
    else:
        path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return str(path)


def given(value: Any) -> bool:
    return value is not None and value == value


def by_loop(lines: Sequence[Line], uids: Sequence[str]) -> list[dict[str, Any]]:
    """What each row has, without Arrow, NumPy or sorting by code."""
    stored: dict[str, list[tuple[str, bool, bool]]] = {}
    for one in lines:
        if given(one["correct"]):
            answer = (one["model"], bool(one["image"]), float(one["correct"]) >= 0.5)
            stored.setdefault(str(one["item"]), []).append(answer)
    settings = {bool(one["image"]) for one in lines if given(one["correct"])}
    return [_row(sorted(stored.get(uid, [])), settings) for uid in uids]


def _row(answers: Sequence[tuple[str, bool, bool]], settings: set[bool]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for image, prefix in ((False, "blind_"), (True, "")):
        if image in settings:
            row[f"{prefix}right"] = sum(right for _, shown, right in answers if shown is image)
            row[f"{prefix}asked"] = sum(shown is image for _, shown, _ in answers)
    row["answers"] = [{"model": model, "image": image, "right": right} for model, image, right in answers]
    return row


def rows_of(columns: Mapping[str, pa.Array]) -> list[dict[str, Any]]:
    return pa.table(dict(columns)).to_pylist()
