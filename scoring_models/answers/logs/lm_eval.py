"""Logs of EleutherAI's lm-evaluation-harness (`--log_samples`; read as 0.4.13 writes them).

Layout: `<out>/<model>/results_<date>.json` and `samples_<task>_<date>.jsonl`; or, where `--output_path` named a file
`x.json`, all models in one folder, as `x_<date>.json` beside `samples_<task>_<date>.jsonl`. A line is a document after
one of the task's filters; the model's name stands in the results file of the same date alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from poolsieve.scoring_models.answers.logs.folders import Wanted, files_of
from poolsieve.scoring_models.answers.logs.json_logs import Line, Tool, item_of, json_lines, text_of
from poolsieve.scoring_models.answers.logs.measures import Measure
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError

_DATE = r"(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d{1,6})?)"
"""`datetime.isoformat()` with its colons replaced: without a fraction where that is 0."""

QUESTIONS = ("question", "query", "problem", "prompt", "input")
"""Keys by which tasks have the question in a document; the first of them that holds a text counts."""


def files(path: str | Path | None = None, **how: Any) -> Mapping[str, Path]:
    """The logs and results that `read` reads, by their places in the folders.

    Raises:
        PlanError: as `read`, but for what stands inside logs.
    """
    return files_of(Wanted(path, **how).settings(TOOL.name), TOOL.runs)


def read(path: str | Path | None = None, **how: Any) -> pa.Table:
    """Answers from lm-eval's logs; an item's name is its `doc_id`.

    Args:
        path: folder with the answers to items as they are.
        how: the other fields of `Wanted`. Of its `measure`: `acc`, or `exact_match,strict-match` where the task has
            several filters; None takes the first that the log lists.

    Returns:
        A line for each answer (`rows.SCHEMA`).

    Raises:
        PlanError: for folders without logs, for several tasks, for a measure that is not there or is no mark from 0 to
            1, for logs cut short, and for two answers of one model to one item; with the place.
    """
    return TOOL.read(Wanted(path, **how))


def _lines(path: Path, results: JsonObject, task: str) -> list[Line]:
    return [_line(path, number, data) for number, data in json_lines(path)]


def _line(path: Path, number: int, data: JsonObject) -> Line:
    metrics, after = data.get("metrics"), data.get("filter", "none")
    if (
        not isinstance(metrics, list)
        or not all(isinstance(name, str) for name in metrics)
        or not isinstance(after, str)
    ):
        raise PlanError(
            f"{path}, line {number}: it has no list of metrics and no filter: no log of lm-eval 0.4 has that"
        )
    measures = {name: data[name] for name in metrics if name in data}
    answer = text_of(data.get("filtered_resps"))
    return Line(number, item_of(data, path, number), after, measures, answer, _question(data.get("doc")))


def _question(doc: Any) -> str | None:
    if not isinstance(doc, dict):
        return None
    return next((doc[key] for key in QUESTIONS if isinstance(doc.get(key), str)), None)


def _offered(results: JsonObject, task: str, lines: Sequence[Line]) -> list[Measure]:
    return list(dict.fromkeys(Measure(name, line.filter) for line in lines for name in line.measures))


TOOL = Tool(
    name="lm_eval",
    samples=re.compile(rf"samples_(?P<task>.+)_{_DATE}\.jsonl"),
    results=re.compile(rf".+_{_DATE}\.json"),
    what="samples_<task>_<date>.jsonl (lm-eval writes them with --log_samples)",
    lines=_lines,
    offered=_offered,
)
