"""Tables of VLMEvalKit (read as the version of 2026-08-18 writes them).

Layout: `<out>/<MODEL>/T<date>-<time>/<MODEL>_<DATASET>.xlsx` (or `.tsv`, `.json`) with `index`, `question`, options
`A`, `B` .., `answer` and `prediction`; the tool's own marks, `hit`, stand in `<MODEL>_<DATASET>_<judge>_result.xlsx`
beside it. Links to the newest run stand in `<MODEL>/`. Where a table can't be written, the tool leaves a pickle, which
may run code when it is read: it is never opened.

In circular datasets an item stands once for each rotation of its options: at `index`, `index` + 1,000,000 and so on
(`g_index`, if there, has the item's own). It counts as right if every rotation is.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from poolsieve.scoring_models.answers.logs.folders import Run, Setting, Wanted, below, files_of, newest, task_of
from poolsieve.scoring_models.answers.logs.measures import Measure, chosen, mark_of, same
from poolsieve.scoring_models.answers.logs.rows import Row, once, table_of
from poolsieve.scoring_models.answers.logs.sheets import KINDS, Record, records
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.marking import Gold, lacking, mark

NAME = "vlmevalkit"

RUN = re.compile(r"T(\d{8}-\d{6})|T(\d{8})_G[0-9a-fA-F]+")
"""Folders of runs (`vlmeval/smp/file.py`); the older names have the day alone."""

FAILED = "Failed to obtain answer"
"""What a prediction begins with where there is none (`INFER_FAIL_MSG`; "via API." and others follow)."""

CIRCULAR = ("mmbench", "ccbench", "circular", "mmcr")
"""Parts of names of circular datasets, in lower case (`ImageMCQDataset.evaluate_heuristic`)."""

OFFSET = 1_000_000
"""What a rotation adds to the index."""

PICKLE = ".pkl"

_RESULT = "_result"
_OTHERS = (_RESULT, "_results", "_score", "_acc", "_rating", "_fine", "_metrics", "_config", "_meta", "_judge")
"""Ends of names of files that hold no predictions, where no `status.json` lists the datasets."""

_STATUS = "status.json"

_SKIPPED = "invalid_dataset"
"""What a status says of a name that was no dataset."""

_LETTER = Measure("letter", "none")
"""The option that the prediction names, marked here."""


PACKAGES = ("python-calamine",)
"""Distributions that numbers from `.xlsx` depend on."""


def files(path: str | Path | None = None, **how: Any) -> Mapping[str, Path]:
    """The tables that `read` may read, by their places in the folders.

    Raises:
        PlanError: as `read`, but for what stands inside tables.
    """
    return files_of(Wanted(path, **how).settings(NAME), runs)


def read(path: str | Path | None = None, **how: Any) -> pa.Table:
    """Answers from VLMEvalKit's tables; an item's name is its `index`.

    Args:
        path: folder with the answers to items as they are.
        how: the other fields of `Wanted`. Of its `measure`: `hit`, the tool's own mark (`hit,gpt-4o` where several
            judges left one), or `letter`: the option that the prediction names, marked here; one that names no single
            option is wrong. None takes `hit` where the tool has left marks, else `letter`.

    Returns:
        A line for each item (`rows.SCHEMA`); `correct` is null where any of its predictions says that there is none.

    Raises:
        PlanError: for folders without tables, for several datasets, for a newest run that left a pickle alone, for
            marks that are not there, and for two rows of one index; with the place.
    """
    wanted = Wanted(path, **how)
    read = [(setting, run) for setting in wanted.settings(NAME) for run in runs(setting)]
    measures = {str(run.paths[0]): _measure(run, wanted.measure) for _, run in read}
    if wanted.measure is None:
        same(NAME, measures)
    return table_of(
        row
        for setting, run in read
        for row in once(_Sheet(run, measures[str(run.paths[0])], marks=wanted.marks).rows(setting))
    )


def runs(setting: Setting) -> list[Run]:
    """The newest run of each model: predictions, and the tables with marks beside them.

    Raises:
        PlanError: for a newest run with a pickle and no table, and for one with two tables.
    """
    folders = _folders(setting.root)
    known = {name for folder in folders for name in folder.datasets if name in folder.found}
    task = task_of(NAME, setting, known, "<MODEL>/<run>/<MODEL>_<DATASET>.xlsx")
    found = newest(NAME, [folder.run(task) for folder in folders if task in folder.datasets])
    for run in found:
        _refuse_unread(run, task)
    return found


def _refuse_unread(run: Run, task: str) -> None:
    if run.paths[0].suffix == PICKLE:
        raise PlanError(
            f"{run.paths[0]}: the newest run of model {run.model!r} left a pickle alone, which may run code when it is "
            "read. Write it as .tsv in an environment that you trust (PRED_FORMAT=tsv), or remove the run"
        )
    if not run.paths[0].is_file():
        raise PlanError(
            f"{run.paths[0]}: the newest run of model {run.model!r} has no predictions on dataset {task!r}: it was cut "
            "short. Finish it (--reuse), or remove it"
        )


class _Folder(NamedTuple):
    """The files of one run of one model, by what stands behind `<MODEL>_` in their names, without the ending."""

    place: Path
    model: str
    date: str
    found: Mapping[str, Sequence[Path]]
    datasets: frozenset[str]

    def run(self, task: str) -> Run:
        there = self.found.get(task, [])
        tables = [path for path in there if path.suffix != PICKLE]
        if len(tables) > 1:
            raise PlanError(f"{tables[0]} and {tables[1]} hold predictions of one run: keep one of them")
        return Run(self.model, self.date, (*(tables or there[:1] or [self.place]), *self._results(task)))

    def _results(self, task: str) -> list[Path]:
        """Tables with marks of this dataset, and not of one whose name begins with its name."""
        longer = tuple(f"{name}_" for name in self.datasets if name.startswith(f"{task}_"))
        return [
            path
            for rest, paths in sorted(self.found.items())
            for path in paths
            if rest.startswith(f"{task}_") and rest.endswith(_RESULT) and path.suffix in KINDS
            if not (longer and rest.startswith(longer))
        ]


def _folders(root: Path) -> list[_Folder]:
    there: dict[Path, list[Path]] = {}
    for path in below(root):
        if path.suffix in (*KINDS, PICKLE):
            there.setdefault(path.parent, []).append(path)
    return [_folder(place, paths) for place, paths in there.items()]


def _folder(place: Path, paths: Sequence[Path]) -> _Folder:
    run = RUN.fullmatch(place.absolute().name)
    model = (place.absolute().parent if run else place.absolute()).name
    found: dict[str, list[Path]] = {}
    for path in paths:
        if path.name.startswith(f"{model}_"):
            found.setdefault(path.stem.removeprefix(f"{model}_"), []).append(path)
    listed = _listed(place / _STATUS)
    names = listed if listed is not None else [name for name in found if not name.endswith(_OTHERS)]
    date = next(filter(None, run.groups())) if run else ""
    return _Folder(place, model, date, found, frozenset(names))


def _listed(path: Path) -> list[str] | None:
    """Datasets of a run, by the tool's own record; None where there is none."""
    if not path.is_file():
        return None
    try:
        status = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise PlanError(f"can't read {path}: {error}") from error
    datasets = status.get("datasets") if isinstance(status, dict) else None
    if not isinstance(datasets, dict):
        return None
    return [
        name
        for name, about in datasets.items()
        if not (isinstance(about, dict) and about.get("skip_reason") == _SKIPPED)
    ]


def _measure(run: Run, wanted: str | None) -> Measure:
    """Of the marks that the tool left, and of ours.

    Raises:
        PlanError: where there are marks of several judges and none was named.
    """
    task = run.paths[0].stem
    judges = [path.stem.removeprefix(f"{task}_").removesuffix(_RESULT) for path in run.paths[1:]]
    offered = [Measure("hit", judge) for judge in judges]
    if wanted is None and len(offered) > 1:
        wanted = "hit"  # which is refused, and the judges are listed
    return chosen(NAME, wanted, [*offered, _LETTER], str(run.paths[0]))


class _Sheet:
    """The predictions of one run."""

    def __init__(self, run: Run, measure: Measure, *, marks: bool) -> None:
        self.run, self.path, self.marks = run, run.paths[0], marks
        self.dataset = self.path.stem.removeprefix(f"{run.model}_")
        self.measure = measure
        self.hits = _hits(run.paths[1:], measure) if marks and measure != _LETTER else None

    def rows(self, setting: Setting) -> Iterator[Row]:
        for item, turns in self._items().items():
            number, cells = turns[0]
            said = [turn.cells.get("prediction") or "" for turn in turns]
            none = any(text.lstrip().startswith(FAILED) for text in said)
            mark = self._mark(item, turns) if self.marks and not none else None
            answer = None if none else said[0]
            yield Row(item, self.run.model, setting.image, mark, answer, cells.get("question"), str(self.path), number)

    def _items(self) -> dict[str, list[Record]]:
        """Item -> its rotations, or its one row."""
        rows = self._by_index()
        items: dict[str, list[Record]] = {}
        for index, row in rows.items():
            items.setdefault(self._item(index, row, rows), []).append(row)
        turned = next((turns for turns in items.values() if len(turns) > 1), None)
        if turned and not self.marks:
            raise PlanError(
                f"{self.path}, line {turned[1].number}: the dataset is circular, so that an item has several answers: "
                "take the tool's marks or measure='letter', and no scoring=..."
            )
        return items

    def _by_index(self) -> dict[str, Record]:
        rows: dict[str, Record] = {}
        for row in records(self.path):
            index = row.cells.get("index")
            if index is None or "prediction" not in row.cells:
                raise PlanError(f"{self.path}, line {row.number}: it has no index, or no column 'prediction'")
            first = rows.setdefault(index, row)
            if first is not row:
                raise PlanError(
                    f"{self.path}, line {row.number}: model {self.run.model!r} answers item {index!r} a second time, "
                    f"after line {first.number}: keep one of them"
                )
        if not rows:
            raise PlanError(f"{self.path} has no rows: it is cut short, or nothing was asked")
        return rows

    def _item(self, index: str, row: Record, rows: Mapping[str, Record]) -> str:
        """The item of a row: itself, or the one whose rotation it is."""
        if row.cells.get("g_index") is not None:
            return str(row.cells["g_index"])
        if not index.isdecimal() or len(index) > 18 or int(index) < OFFSET:
            return index
        own = str(int(index) % OFFSET)
        known = any(part in self.dataset.lower() for part in CIRCULAR)
        return own if known or (own in rows and _asks(rows[own]) == _asks(row)) else index

    def _mark(self, item: str, turns: Sequence[Record]) -> float | None:
        if self.hits is None:
            return min(self._letter(turn) for turn in turns)
        place, hit = self.hits.get(item, ("", None))
        if not place:
            raise PlanError(
                f"{self.path}, line {turns[0].number}: item {item!r} has no row among the tool's marks "
                f"({self.measure}): they are cut short, or of another run"
            )
        return mark_of(hit, self.measure, place)

    def _letter(self, row: Record) -> float:
        gold = Gold(row.cells.get("answer"), (), _options(row.cells))
        place = f"{self.path}, line {row.number}"
        if not gold.options:
            raise PlanError(f"{place}: the item has no options to mark by: evaluate with the tool, which leaves marks")
        lacks = lacking("letter", gold)
        if lacks is not None:
            raise PlanError(f"{place}: {lacks}")
        return mark("letter", row.cells.get("prediction") or "", gold)


def _options(cells: Mapping[str, str | None]) -> tuple[str, ...]:
    """Texts of the options, by letter, up to the last that there is."""
    texts = [cells.get(letter) or "" for letter in string.ascii_uppercase]
    return tuple(texts[: max((at for at, text in enumerate(texts, 1) if text), default=0)])


def _asks(row: Record) -> tuple[str | None, list[str]]:
    """What rotations of an item have in common."""
    return row.cells.get("question"), sorted(_options(row.cells))


def _hits(paths: Sequence[Path], measure: Measure) -> dict[str, tuple[str, float | None]]:
    """Index -> place and mark, by the tool's judge that is meant."""
    path = next(path for path in paths if path.stem.endswith(f"_{measure.filter}{_RESULT}"))
    found: dict[str, tuple[str, float | None]] = {}
    for row in records(path):
        index, place = row.cells.get("index"), f"{path}, line {row.number}"
        if index is None or "hit" not in row.cells:
            raise PlanError(f"{place}: it has no index, or no column 'hit'")
        if index in found:
            raise PlanError(f"{place}: item {index!r} is marked a second time: keep one of the rows")
        found[index] = (place, _number(row.cells["hit"], place))
    return found


def _number(text: str | None, place: str) -> float | None:
    named = {"True": 1.0, "False": 0.0}
    try:
        return None if text is None else named[text] if text in named else float(text)
    except ValueError as error:
        raise PlanError(f"{place}: hit is {short(text)}: a number is wanted") from error
