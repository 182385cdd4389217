"""Answers of a panel that somebody has stored, in tables or in the logs of an evaluation tool, as scores of items."""

from __future__ import annotations

import copy
import functools
import importlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from poolsieve.scoring_models.answers import files, marked
from poolsieve.scoring_models.answers.keys import UID, check_names
from poolsieve.scoring_models.answers.table import AnswerTable, index
from poolsieve.scoring_models.answers.values import Tell, flags_of, marks_of, names_of, texts_of
from poolsieve.scoring_models.base.config import JsonObject, absolute_path, canonical_json
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError, unknown_name
from poolsieve.scoring_models.base.kinds import short
from poolsieve.scoring_models.base.outcomes import outcome_columns
from poolsieve.scoring_models.base.scorer import Resources, Scored, ScorerConfig
from poolsieve.scoring_models.marking import Scoring

TOOLS = ("lm_eval", "lmms_eval", "vlmevalkit")
"""Evaluation tools whose logs are read, each by the module of its name in `answers/logs`."""

_PLACES = ("blind",)
"""Settings of a tool's reader that are places: what stands there enters the fingerprint by its contents."""


class _Known(msgspec.Struct, frozen=True):
    """What a recipe must know of the answers: settings that some model has, and the models, sorted."""

    shown: tuple[bool, ...]
    models: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Answers(ScorerConfig):
    """Who answered an item right, with its image and without it, from answers that somebody has stored.

    `Score(panel=Answers("answers.parquet"))`. The file has one line for each item, model and setting. Columns are
    `right` and `asked`, int32: how many models answered the item right with the image, and how many answered it;
    `blind_right` and `blind_asked`, the same without the image; and `answers`, the single answers (`OUTCOMES`). The
    counts of a setting that no model has are not there. Items without answers have 0.

    Args:
        path: Parquet, CSV or JSON lines, one file or several.
        item: column with the items' names, texts or integers, which are the uids of the pool's rows.
        model: column with the models' names.
        image: column that says whether the image was shown; True or False where one file is of one setting.
        correct: column with what an answer is worth: true, false or a mark from 0 to 1, right from 0.5; null or NaN
            where no answer was given. "correct", unless `answer` is given.
        answer: column with the answers' texts, to be marked here; null (in CSV: nothing) where none was given.
        scoring: how texts are marked: a name (exact, normalised, numeric, letter, vqa, anls, iou), or one for each
            source with "*" for the others. "exact", unless given.
        gold: with texts: the role with the right answer; None to do without.
        golds: with texts: the role with all answers that are accepted, a list of texts. A pool may have none.
        options: with texts: the role with the options, a list of texts. A pool may have none.
        source: the role with the name of an item's source, read where `scoring` names sources.
        question: with a tool's logs: the role with the question. Answers to another question do not count.
        tool: whose logs `path` is the folder of, with `settings` for their reader; `Answers.lm_eval` and its like fill
            both in.
        settings: see there.
        version: see `Scorer`.
    """

    path: str | tuple[str, ...] | None = field(metadata={"runtime": True})
    item: str = "item"
    model: str = "model"
    image: str | bool = "image"
    correct: str | None = None
    answer: str | None = None
    scoring: str | Mapping[str, str] | None = None
    gold: str | None = "answer"
    golds: str | None = "answers"
    options: str | None = "options"
    source: str = "source"
    question: str | None = None
    tool: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        if self.tool is None:
            self._check_columns()
            object.__setattr__(self, "path", files.checked_paths("Answers", self.path))
        else:
            self._check_tool()
        object.__setattr__(self, "packages", self._packages())
        if self.marker is None:
            return
        if self.marker.scoring.judged:
            raise PlanError("Answers(scoring=...): a judge must be asked, and stored answers are marked without one")
        if self.gold is None and self.golds is None:
            raise PlanError("Answers: texts are marked against a role with the right answer: say gold=... or golds=...")

    def _packages(self) -> tuple[str, ...]:
        marking = () if self.marker is None else self.marker.scoring.packages
        return (*marking, *getattr(self._reader(), "PACKAGES", ())) if self.tool is not None else marking

    def _check_columns(self) -> None:
        if self.correct is not None and self.answer is not None:
            raise PlanError(f"Answers(correct={self.correct!r}, answer={self.answer!r}): give one of the two")
        if self.answer is None and self.scoring is not None:
            raise PlanError("Answers(scoring=...): say answer=..., the column with the texts that are to be marked")
        if self.question is not None:
            raise PlanError("Answers(question=...): only a tool's logs hold questions that a row's is compared with")
        if self.settings:
            raise PlanError("Answers(settings=...): these are for the reader of a tool's logs: say tool=...")

    def _check_tool(self) -> None:
        if self.tool not in TOOLS:
            raise unknown_name(f"Answers: there is no reader of logs {self.tool!r}", str(self.tool), TOOLS)
        given = [name for name in ("correct", "answer") if getattr(self, name) is not None]
        if given:
            raise PlanError(f"Answers(tool={self.tool!r}): {given[0]} names a column, and logs have their own")
        places = {name: _place(name, self.settings[name]) for name in _PLACES if self.settings.get(name) is not None}
        object.__setattr__(self, "path", None if self.path is None else _place("path", self.path))
        object.__setattr__(self, "settings", {**self.settings, **places})

    @classmethod
    def lm_eval(
        cls,
        path: str | None = None,
        *,
        task: str | None = None,
        measure: str | None = None,
        blind: str | None = None,
        blind_task: str | None = None,
        scoring: str | Mapping[str, str] | None = None,
        question: str | None = None,
        **roles: str | None,
    ) -> Answers:
        """Answers from the logs of lm-evaluation-harness (`--log_samples`).

        No log says whether the image was shown, so the answers without it stand in a folder, or under a task, of their
        own. Items are matched by uid with the documents' numbers in their task.

        Args:
            path: the output folder, with every model in it; None where there are answers without the image alone.
            task: which of the tasks in it.
            measure: which of the tool's measures says that an answer is right; None takes the first that the log lists.
            blind: the same as `path` of the answers without the image; None where there are none.
            blind_task: the same as `task`.
            scoring: marks the texts here, as in `Answers`, instead of by the tool's measure.
            question: the role with the question; answers to another question do not count.
            roles: `gold`, `golds`, `options`, `source`; see `Answers`.
        """
        settings = {"task": task, "measure": measure, "blind": blind, "blind_task": blind_task}
        return cls._of_tool("lm_eval", path, settings, scoring=scoring, question=question, **roles)

    @classmethod
    def lmms_eval(
        cls,
        path: str | None = None,
        *,
        task: str | None = None,
        measure: str | None = None,
        blind: str | None = None,
        blind_task: str | None = None,
        scoring: str | Mapping[str, str] | None = None,
        question: str | None = None,
        **roles: str | None,
    ) -> Answers:
        """Answers from the logs of lmms-eval (`--log_samples`); everything as in `lm_eval`."""
        settings = {"task": task, "measure": measure, "blind": blind, "blind_task": blind_task}
        return cls._of_tool("lmms_eval", path, settings, scoring=scoring, question=question, **roles)

    @classmethod
    def vlmevalkit(
        cls,
        path: str | None = None,
        *,
        task: str | None = None,
        measure: str | None = None,
        blind: str | None = None,
        blind_task: str | None = None,
        scoring: str | Mapping[str, str] | None = None,
        question: str | None = None,
        **roles: str | None,
    ) -> Answers:
        """Answers from the tables of VLMEvalKit; `task` is the name of the dataset, and the rest as in `lm_eval`."""
        settings = {"task": task, "measure": measure, "blind": blind, "blind_task": blind_task}
        return cls._of_tool("vlmevalkit", path, settings, scoring=scoring, question=question, **roles)

    @classmethod
    def _of_tool(cls, tool: str, path: str | None, settings: Mapping[str, Any], **others: Any) -> Answers:
        given = {name: value for name, value in settings.items() if value is not None}
        return cls(path, tool=tool, settings=given, **others)

    @functools.cached_property
    def marker(self) -> marked.Marker | None:
        """What marks texts; None where it is stored who was right."""
        if self.answer is None and self.scoring is None:
            return None
        scoring = Scoring.of(self.scoring or "exact")
        roles = {marked.GOLD: self.gold, marked.GOLDS: self.golds, marked.OPTIONS: self.options}
        roles |= {marked.SOURCE: self.source} if scoring.by_source else {}
        return marked.Marker(scoring, {name: role for name, role in roles.items() if role is not None})

    @property
    def reads(self) -> tuple[str, ...]:
        """The uid; and what texts are marked against, and the question, where they count."""
        roles = self.marker.roles.values() if self.marker is not None else ()
        return tuple(dict.fromkeys((UID, *roles, *filter(None, (self.question,)))))

    @property
    def optional_reads(self) -> tuple[str, ...]:
        """The roles with all accepted answers and with the options."""
        roles = self.marker.roles if self.marker is not None else {}
        return tuple(role for name, role in roles.items() if name in (marked.GOLDS, marked.OPTIONS))

    @property
    def columns(self) -> Mapping[str, pa.DataType]:
        """Counts of the settings that some model has, int32, and `answers`. Loads the answers, and so checks them."""
        return self._table().columns if self._known is None else outcome_columns(self._known.shown)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, sorted."""
        return self._table().models if self._known is None else self._known.models

    @property
    def _known(self) -> _Known | None:
        return vars(self).get("_facts")

    def facts(self) -> JsonObject:
        """The settings that some model has (whether the image was shown), and the models."""
        table = self._table()
        return {"shown": list(table.settings), "models": list(table.models)}

    def with_facts(self, found: JsonObject) -> Answers:
        """The same answers, of which settings and models are known.

        Raises:
            PoolsieveError: for facts of something else.
        """
        try:
            known = msgspec.convert(found, _Known)
        except msgspec.ValidationError as error:
            raise PoolsieveError(f"what scorer.json says of the answers is damaged ({error}): run again") from error
        made = copy.copy(self)
        vars(made)["_facts"] = known
        return made

    @property
    def resources(self) -> Resources:
        """About what ten million answers take. Marking is Python work."""
        return Resources(memory_mb=1000, holds_gil=self.marker is not None)

    def check_role(self, where: str, role: str, kind: pa.DataType) -> None:
        """Refuses roles of types that can't be what they are read as.

        Raises:
            PlanError: naming the role's type.
        """
        for name, own in (self.marker.roles if self.marker is not None else {}).items():
            if own == role:
                marked.check_role(where, name, role, kind)
        if role == UID:
            check_names(where, kind)
        if role == self.question and not (pa.types.is_null(kind) or pa.types.is_string(kind)):
            raise PlanError(f"{where} reads {role!r} as the question, but it is {kind}: name a role of texts")

    def to_dict(self) -> JsonObject:
        """Without the places of files, whose contents enter the fingerprint by hash."""
        settings = {name: value for name, value in self.settings.items() if name not in _PLACES}
        made = super().to_dict() | ({"settings": settings} if self.settings else {})
        return made | ({"scoring": dict(self.marker.scoring.ways)} if self.marker is not None else {})

    def files(self) -> Mapping[str, Path]:
        """The files, as `answers/1` and so on; of a tool's logs, by the names that its reader gives them.

        Raises:
            PlanError: if one is missing.
        """
        # No package is asked for here: marking has asked for its own, and a tool's sheets ask where one is read.
        if self.tool is not None:
            found = dict(self._reader().files(self.path, **self._asked))
        else:
            found = {f"answers/{n}": path for n, path in enumerate(files.there("Answers", self._paths), 1)}
        vars(self)["_found"] = found
        return found

    @property
    def _asked(self) -> dict[str, Any]:
        """What the reader of a tool's logs is asked for."""
        return {**self.settings, "marks": self.marker is None}

    @property
    def _paths(self) -> tuple[str, ...]:
        assert isinstance(self.path, tuple)
        return self.path

    def _reader(self) -> Any:
        return importlib.import_module(f"poolsieve.scoring_models.answers.logs.{self.tool}")

    def score(self, batch: pa.RecordBatch) -> Scored:
        """Counts and answers of a batch; an error for rows with answers that there is nothing to mark by."""
        table = self._table()
        questions = None if self.question is None else batch.column(self.question)
        found = table.agreeing(table.find(batch.column(UID)), questions)
        if self.marker is None:
            assert table.right is not None
            return Scored(table.counted(found, table.right[found.lines], batch.num_rows))
        right, errors = self.marker.marked(batch, table, found)
        counted = table.counted(found, right, batch.num_rows)
        return Scored(_without(counted, list(errors)) if errors else counted, errors)

    def unmatched(self, uids: Iterable[pa.Array], answered: Iterable[Any] | None = None) -> dict[str, Any]:
        """What stored items and the pool's rows have not in common.

        Args:
            uids: string arrays of all rows.
            answered: bool arrays beside them: whether the row has a count above 0. Where questions are compared, a uid
                alone does not say it.

        Returns:
            `items`, the number of stored items that no row has, and the `first` of their names (at most 10); `rows`,
            the number of rows without a stored answer, and the `first_rows`.
        """
        count = self._table().unmatched()
        if answered is None:
            for some in uids:
                count.add(some)
        else:
            for some, mask in zip(uids, answered, strict=True):
                count.add(some, np.asarray(mask, dtype=bool))
        return count.to_dict()

    def _table(self) -> AnswerTable:
        """The answers, loaded once a process; loaded anew when a file has changed."""
        places = canonical_json([self.path, self.settings])
        stamps = self._stamps()
        with _LOCK:  # two threads would load it twice
            return _loaded(self, places, stamps)

    def _stamps(self) -> tuple[Any, ...]:
        """Of the files that were found last, since looking for a tool's logs takes longer than a batch."""
        found = vars(self).get("_found")
        try:
            return files.stamps_of(self.files() if found is None else found)
        except FileNotFoundError:
            return files.stamps_of(self.files())

    def read(self) -> AnswerTable:
        """Reads and checks the answers; `columns`, `models` and `score` have them from memory.

        Raises:
            PlanError: for answers that can't be read or can't be right, with the place.
        """
        by_text = self.marker is not None
        if self.tool is not None:
            reader = self._reader()
            return index(
                reader.read(self.path, **self._asked),
                f"Answers.{self.tool}",
                by_text=by_text,
                first_lines=getattr(reader, "FIRST_LINES", False),
            )
        wanted = {"item": self.item, "model": self.model}
        wanted |= {"image": self.image} if isinstance(self.image, str) else {}
        wanted |= {"answer": self.answer} if self.answer is not None else {"correct": self.correct or "correct"}
        tables, places = list[pa.Table](), files.Places()
        for path in files.there("Answers", self._paths):
            table, tell = files.read("Answers", path, wanted)
            tables.append(_plain(table, self.image, tell))
            places.add(table.num_rows, tell)
        return index(pa.concat_tables(tables), ", ".join(self._paths), places, by_text=by_text)


_LOCK = threading.Lock()


@functools.lru_cache(maxsize=4)
def _loaded(answers: Answers, places: str, stamps: tuple[Any, ...]) -> AnswerTable:
    """The answers in memory; `places` and `stamps` say which files they are from, and when those were written."""
    return answers.read()


def _without(columns: Mapping[str, pa.Array], rows: Sequence[int]) -> dict[str, pa.Array]:
    """The columns with nulls in some rows."""
    count = len(next(iter(columns.values())))
    places = np.arange(count)
    take = pa.array(places, pa.int64(), mask=np.isin(places, rows))
    return {name: values.take(take) for name, values in columns.items()}


def _place(name: str, given: Any) -> str:
    if not isinstance(given, (str, Path)) or not str(given):
        raise PlanError(f"Answers({name}={short(given)}): expected the path of a folder")
    return absolute_path(str(given))


def _plain(table: pa.Table, image: str | bool, tell: Tell) -> pa.Table:
    """The columns with the types that every file's have, so that one table can be made of several."""
    made: dict[str, Any] = {name: names_of(table.column(name), name, tell).encoded() for name in ("item", "model")}
    if isinstance(image, bool):
        made["image"] = pa.repeat(image, table.num_rows)
    else:
        made["image"] = pa.array(flags_of(table.column("image"), "image", tell, null=False)[0])
    if "answer" in table.column_names:
        return pa.table({**made, "answer": texts_of(table.column("answer"), "answer", tell)})
    return pa.table({**made, "correct": marks_of(table.column("correct"), "correct", tell)})
