"""Logs that are JSON lines beside a JSON file of results, as lm-eval and lmms-eval write them.

A log may be cut short: its last line is broken, or it has fewer documents than its results file says. Both are refused,
since a model whose answers are missing at the end of a task would be compared with others that answered all of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from poolsieve.scoring_models.answers.logs.folders import Run, Setting, Wanted, below, newest, task_of
from poolsieve.scoring_models.answers.logs.measures import Measure, chosen, mark_of, same
from poolsieve.scoring_models.answers.logs.rows import Row, once, table_of
from poolsieve.scoring_models.base.config import JsonObject
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short


class Line(NamedTuple):
    """One line of a log: an answer after one filter."""

    number: int
    item: str
    filter: str
    measures: Mapping[str, Any]
    """Metric -> its value, a number or an object."""
    answer: str | None
    question: str | None


@dataclass(frozen=True)
class Tool:
    """How one tool writes its logs.

    Attributes:
        name: as in `Answers.lm_eval`.
        samples: of the files with answers, groups `task` and `date`.
        results: of the files beside them, group `date`.
        what: names of the files with answers, for messages.
        lines: (path of the log, its results, task) -> its lines.
        offered: (results, task, lines) -> the measures, in the order in which the log lists them.
    """

    name: str
    samples: re.Pattern[str]
    results: re.Pattern[str]
    what: str
    lines: Callable[[Path, JsonObject, str], list[Line]]
    offered: Callable[[JsonObject, str, Sequence[Line]], list[Measure]]

    def runs(self, setting: Setting) -> list[Run]:
        """The newest run of each model."""
        logs = _Logs(self, setting)
        return newest(self.name, logs.runs())

    def read(self, wanted: Wanted) -> pa.Table:
        """The answers; without `marks`, their texts alone."""
        read = [(setting, run) for setting in wanted.settings(self.name) for run in self.runs(setting)]
        loaded = [(setting, run, _Log(self, setting, run)) for setting, run in read]
        measures = {str(run.paths[0]): log.measure(wanted.measure) for _, run, log in loaded}
        if wanted.measure is None:
            same(self.name, measures)
        rows = (
            row
            for setting, run, log in loaded
            for row in log.rows(measures[str(run.paths[0])], setting, run, marks=wanted.marks)
        )
        return table_of(rows)


class _Logs:
    """The logs of one task below a folder, and the results files beside them."""

    def __init__(self, tool: Tool, setting: Setting) -> None:
        self.tool = tool
        self.samples: dict[tuple[Path, str, str], Path] = {}
        self.results: dict[tuple[Path, str], list[Path]] = {}
        for path in below(setting.root):
            if found := tool.samples.fullmatch(path.name):
                self.samples[path.parent, found["task"], found["date"]] = path
            elif found := tool.results.fullmatch(path.name):
                self.results.setdefault((path.parent, found["date"]), []).append(path)
        self.task = task_of(tool.name, setting, {task for _, task, _ in self.samples}, tool.what)

    def runs(self) -> list[Run]:
        """All runs of the task.

        Raises:
            PlanError: for a log without results beside it, and for results that are newer and have no log.
        """
        made = [
            self._run(folder, date, path) for (folder, task, date), path in self.samples.items() if task == self.task
        ]
        self._refuse_unlogged(made)
        return made

    def _run(self, folder: Path, date: str, path: Path) -> Run:
        found = self.results.get((folder, date), [])
        if len(found) != 1:
            problem = "no results file" if not found else f"{len(found)} results files"
            raise PlanError(
                f"{path}: there is {problem} of its date beside it. It names the model and says how many documents "
                "there are: copy the tool's output folder as a whole"
            )
        results = json_object(found[0])
        return Run(self._model(results, found[0]), date, (path, found[0]), documents(results, self.task, found[0]))

    def _model(self, results: JsonObject, path: Path) -> str:
        named = results.get("model_name")
        if isinstance(named, str) and named:
            return named
        raise PlanError(f"{path} does not name its model (model_name): whose answers these are can't be told")

    def _refuse_unlogged(self, runs: Sequence[Run]) -> None:
        """Refuses results that are newer than a model's newest log: the older answers are no longer that model's."""
        dates: dict[str, str] = {}
        for run in runs:
            dates[run.model] = max(run.date, dates.get(run.model, ""))
        oldest = min(dates.values(), default="")
        for (folder, date), found in self.results.items():
            if date <= oldest or (folder, self.task, date) in self.samples:
                continue
            for path in found:
                results = json_object(path)
                model = results.get("model_name")
                if isinstance(model, str) and date > dates.get(model, date) and self._has_task(results):
                    raise PlanError(
                        f"{path}: the newest run of model {model!r} on task {self.task!r} has no log beside it (it "
                        "was run without --log_samples, or cut short): run it again, or remove it"
                    )

    def _has_task(self, results: JsonObject) -> bool:
        counts = results.get("n-samples")
        return isinstance(counts, dict) and self.task in counts


class _Log:
    """One log in memory."""

    def __init__(self, tool: Tool, setting: Setting, run: Run) -> None:
        self.tool, self.path, self.run = tool, run.paths[0], run
        self.results = json_object(run.paths[1])
        found = tool.samples.fullmatch(self.path.name)
        assert found is not None
        self.task = found["task"]
        self.lines = tool.lines(self.path, self.results, self.task)

    def measure(self, wanted: str | None) -> Measure:
        """The measure that is meant."""
        offered = self.tool.offered(self.results, self.task, self.lines)
        return chosen(self.tool.name, wanted, offered, str(self.path))

    def rows(self, measure: Measure, setting: Setting, run: Run, *, marks: bool) -> Iterator[Row]:
        """The answers after one filter."""
        count = 0
        for row in once(
            self._row(line, measure, setting, run, marks) for line in self.lines if line.filter == measure.filter
        ):
            count += 1
            yield row
        if run.expected is not None and count != run.expected:
            raise PlanError(
                f"{self.path}, line {self.lines[-1].number}: the log ends after {count:,} documents, and "
                f"{run.paths[1].name} says that there are {run.expected:,}: "
                + ("it is cut short; copy it as a whole" if count < run.expected else "it is of another run")
            )

    def _row(self, line: Line, measure: Measure, setting: Setting, run: Run, marks: bool) -> Row:
        place = f"{self.path}, line {line.number}"
        if marks and measure.metric not in line.measures:
            raise PlanError(f"{place} has no measure {measure.metric!r}")
        mark = mark_of(line.measures[measure.metric], measure, place) if marks else None
        return Row(line.item, run.model, setting.image, mark, line.answer, line.question, str(self.path), line.number)


def documents(results: JsonObject, task: str, path: Path) -> int | None:
    """How many documents of a task were asked, by a results file; None where it does not say.

    lmms-eval's `effective` knows nothing of the `--offset` at which a run began.

    Raises:
        PlanError: for a count that is none.
    """
    counts = results.get("n-samples")
    count = counts.get(task) if isinstance(counts, dict) else None
    if not isinstance(count, dict) or "effective" not in count:
        return None
    config = results.get("config")
    offset = (config.get("offset") if isinstance(config, dict) else 0) or 0
    effective: Any = count["effective"]
    original: Any = count.get("original", effective)
    if not all(type(number) is int and number >= 0 for number in (effective, original, offset)):
        raise PlanError(f"{path}: n-samples of task {task!r} is {short(count)}: a number of documents is wanted")
    return max(0, min(effective, original - offset))


def json_object(path: Path) -> JsonObject:
    """A file that is one JSON object.

    Raises:
        PlanError: if it is none, or cut short.
    """
    try:
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict):
            raise ValueError(f"expected an object, found {type(data).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise PlanError(f"can't read {path}: {error}") from error
    return data


def json_lines(path: Path) -> Iterator[tuple[int, JsonObject]]:
    """Numbers, from 1, and objects of a log's lines, which end with a line feed and with nothing else.

    Raises:
        PlanError: for a line that is none, for a last line that is cut off, and for a log without lines.
    """
    number = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _object(path, number, line)
    except OSError as error:
        raise PlanError(f"can't read {path}: {error}") from error
    if not number:
        raise PlanError(f"{path} is empty: the log is cut short, or nothing was asked")


def _object(path: Path, number: int, line: bytes) -> JsonObject:
    try:
        data = _parsed(line)
    except (ValueError, RecursionError) as error:
        if not line.endswith(b"\n"):
            raise PlanError(
                f"{path}, line {number}: the log is cut short in the middle of its last line: copy it as a whole"
            ) from error
        raise PlanError(f"{path}, line {number} is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise PlanError(f"{path}, line {number}: expected one JSON object, found {type(data).__name__}")
    return data


def _parsed(line: bytes) -> Any:
    """By the fast reader; what it refuses (NaN, halves of surrogate pairs) by Python's own."""
    try:
        return orjson.loads(line)
    except ValueError:
        return json.loads(line)


def item_of(line: JsonObject, path: Path, number: int) -> str:
    """`doc_id` of a line, as a name.

    Raises:
        PlanError: if it has none.
    """
    found = line.get("doc_id")
    if type(found) is int or (isinstance(found, str) and found):
        return str(found)
    raise PlanError(f"{path}, line {number}: doc_id is {short(found)}: the number of a document is wanted")


def text_of(answer: Any) -> str | None:
    """An answer's text, as it is or in lists of one; None for anything else (likelihoods of options)."""
    while isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    return answer if isinstance(answer, str) else None
