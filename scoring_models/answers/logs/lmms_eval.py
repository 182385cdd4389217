"""Logs of lmms-eval (`--log_samples`; read as 0.7.3 writes them).

Layout: `<out>/<model>/<date>_results.json` and `<date>_samples_<task>.jsonl`, dates to the second. A line has neither
the document nor its filter: where a task has several, a document's first line is after the first, and so on, in the
order of the results file. The question is the first line of `input`; options and instructions stand behind it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from poolsieve.scoring_models.answers.logs.folders import Wanted, files_of
from poolsieve.scoring_models.answers.logs.json_logs import Line, Tool, item_of, json_lines, text_of
from poolsieve.scoring_models.answers.logs.measures import Measure
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError

_DATE = r"(?P<date>\d{8}_\d{6})"

_OTHERS = frozenset(
    ["doc_id", "doc", "target", "resps", "filtered_resps", "doc_hash", "input", "token_counts", "arguments"]
)
"""Keys of a line that are no measures."""


FIRST_LINES = True
"""Questions are first lines alone."""


def files(path: str | Path | None = None, **how: Any) -> Mapping[str, Path]:
    """The logs and results that `read` reads, by their places in the folders.

    Raises:
        PlanError: as `read`, but for what stands inside logs.
    """
    return files_of(Wanted(path, **how).settings(TOOL.name), TOOL.runs)


def read(path: str | Path | None = None, **how: Any) -> pa.Table:
    """Answers from lmms-eval's logs; an item's name is its `doc_id`.

    Args:
        path: folder with the answers to items as they are.
        how: the other fields of `Wanted`. Of its `measure`: `exact_match`, `exact_match,strict-match` where the task
            has several filters, or `metric.key` where a metric is an object whose mark is not its `score`; None takes
            the first that the results list.

    Returns:
        A line for each answer (`rows.SCHEMA`).

    Raises:
        PlanError: for folders without logs, for several tasks, for a measure that is not there or is no mark from 0 to
            1, for logs cut short, and for two answers of one model to one item; with the place.
    """
    return TOOL.read(Wanted(path, **how))


def _lines(path: Path, results: JsonObject, task: str) -> list[Line]:
    """The lines, with the filter that each must be after."""
    filters = list(dict.fromkeys(measure.filter for measure in listed(results, task))) or ["none"]
    seen: Counter[str] = Counter()
    made: list[Line] = []
    for number, data in json_lines(path):
        item = item_of(data, path, number)
        if seen[item] == len(filters):
            raise PlanError(
                f"{path}, line {number}: item {item!r} has more lines than the task has filters ({len(filters)}): "
                "two runs of the same second were written into one file; run it again"
            )
        made.append(_line(number, item, filters[seen[item]], data))
        seen[item] += 1
    short = next((line for line in made if seen[line.item] < len(filters)), None)
    if short is not None:
        raise PlanError(
            f"{path}, line {made[-1].number}: the log is cut short: item {short.item!r} has {seen[short.item]} of "
            f"{len(filters)} lines, one after each of {', '.join(filters)}"
        )
    return made


def _line(number: int, item: str, after: str, data: JsonObject) -> Line:
    measures = {name: value for name, value in data.items() if name not in _OTHERS}
    return Line(number, item, after, measures, text_of(data.get("filtered_resps")), _question(data.get("input")))


def _question(asked: Any) -> str | None:
    return asked.strip().partition("\n")[0].strip() if isinstance(asked, str) else None


def listed(results: JsonObject, task: str) -> list[Measure]:
    """The measures of a results file, `metric,filter`, in its order; standard errors are none."""
    found = results.get("results")
    values = found.get(task) if isinstance(found, dict) else None
    names = [name.rpartition(",") for name in values or {} if "," in name] if isinstance(values, dict) else []
    return [Measure(metric, after) for metric, _, after in names if "_stderr" not in metric]


def _offered(results: JsonObject, task: str, lines: Sequence[Line]) -> list[Measure]:
    """Those listed that the lines have; then those that only lines have, as some are not averaged."""
    first = lines[0]
    of_results = [measure for measure in listed(results, task) if measure.metric in first.measures]
    of_lines = [Measure(name, line.filter) for line in lines for name in first.measures]
    return list(dict.fromkeys((*of_results, *of_lines)))


TOOL = Tool(
    name="lmms_eval",
    samples=re.compile(rf"{_DATE}_samples_(?P<task>.+)\.jsonl"),
    results=re.compile(rf"{_DATE}_results\.json"),
    what="<date>_samples_<task>.jsonl (lmms-eval writes them with --log_samples)",
    lines=_lines,
    offered=_offered,
)
