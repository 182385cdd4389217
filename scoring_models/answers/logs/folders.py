"""Output folders: which files stand in them, which setting they are of, and which run of a model is the newest."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from poolsieve.scoring_models.base.errors import PlanError, unknown_name
from poolsieve.scoring_models.base.kinds import short

Found = TypeVar("Found", bound="Run")


class Setting(NamedTuple):
    """The logs of one setting: with the image or without it."""

    image: bool
    root: Path
    task: str | None

    @property
    def name(self) -> str:
        """What names of its files begin with."""
        return "image" if self.image else "blind"


class Run(NamedTuple):
    """One model's answers to one task.

    Attributes:
        model: its name.
        date: of the run, as the tool spells it: later is greater. "" where no name has one.
        paths: the files that are read; the first has the answers.
        expected: items that there must be; None where nothing says it.
    """

    model: str
    date: str
    paths: tuple[Path, ...]
    expected: int | None = None


class Wanted(NamedTuple):
    """What a reader of logs is asked for.

    Attributes:
        path: folder with the answers to items as they are.
        task: which of the tasks (or datasets) in it; None if there is one.
        measure: what says that an answer is right; None leaves the choice to the reader.
        blind: folder with the answers without the image: those of a model that reads text alone belong here.
        blind_task: `task`, unless said. Without `blind`, another task of `path`.
        marks: False leaves `correct` null, where texts are marked by somebody else.
    """

    path: str | Path | None = None
    task: str | None = None
    measure: str | None = None
    blind: str | Path | None = None
    blind_task: str | None = None
    marks: bool = True

    def settings(self, tool: str) -> list[Setting]:
        """The settings: with the image, without it, or both.

        Raises:
            PlanError: for none at all, a path that is no folder, and for both settings from the same logs.
        """
        self._check_tasks(tool)
        found = [] if self.path is None else [Setting(True, _folder(tool, "path", self.path), self.task)]
        if self.blind is not None or self.blind_task is not None:
            found.append(self._blind(tool))
        if not found:
            raise PlanError(f"Answers.{tool}: say where the logs are: the tool's output folder, or blind=..., or both")
        if len(found) == 2 and found[0].root.resolve() == found[1].root.resolve() and found[0].task == found[1].task:
            raise PlanError(
                f"Answers.{tool}: answers with and without the image are both task {self.task!r} of {found[0].root}: "
                "they would be the same. Say blind_task=..., or another folder"
            )
        return found

    def _check_tasks(self, tool: str) -> None:
        for name, given in (("task", self.task), ("blind_task", self.blind_task)):
            if given is not None and (not isinstance(given, str) or not given):
                raise PlanError(f"Answers.{tool}({name}={short(given)}): expected the name of a task")

    def _blind(self, tool: str) -> Setting:
        place = self.path if self.blind is None else self.blind
        if place is None:
            raise PlanError(
                f"Answers.{tool}(blind_task={self.blind_task!r}): say blind=..., the folder of these answers"
            )
        return Setting(False, _folder(tool, "blind", place), self.task if self.blind_task is None else self.blind_task)


def _folder(tool: str, name: str, given: str | Path) -> Path:
    if not isinstance(given, (str, Path)) or not str(given):
        raise PlanError(f"Answers.{tool}({name}={short(given)}): expected the path of a folder")
    if not Path(given).is_dir():
        raise PlanError(f"Answers.{tool}: {given} is no folder on this machine: give the tool's output folder")
    return Path(given)


def below(root: Path) -> Iterator[Path]:
    """The plain files below a folder, sorted; links to what stands there itself are left out, as it would count twice.

    Links to files elsewhere are followed, links to folders are not.
    """
    true_root = root.resolve()
    for folder, names, files in os.walk(root):
        names.sort()
        for name in sorted(files):
            path = Path(folder, name)
            # A pipe of a log's name would be waited for without end.
            if path.is_file() and not (path.is_symlink() and path.resolve().is_relative_to(true_root)):
                yield path


def task_of(tool: str, setting: Setting, known: Collection[str], what: str) -> str:
    """The task that is meant.

    Args:
        tool: for messages.
        setting: whose task it is.
        known: the tasks that stand in the folder.
        what: how the files are named, for messages.

    Raises:
        PlanError: if there is none, if it is none of these, and if there are several and none was named.
    """
    argument = "task" if setting.image else "blind_task"
    if not known:
        raise PlanError(f"Answers.{tool}: {setting.root} has no file {what}: it is no output folder of the tool")
    if setting.task is not None:
        if setting.task in known:
            return setting.task
        raise unknown_name(
            f"Answers.{tool}({argument}={setting.task!r}): {setting.root} has no such task", setting.task, sorted(known)
        )
    if len(known) > 1:
        listed = ", ".join(sorted(known)[:20]) + (", ..." if len(known) > 20 else "")
        raise PlanError(f"Answers.{tool}: {setting.root} has several tasks: say {argument}=... ({listed})")
    return next(iter(known))


def newest(tool: str, runs: Iterable[Run]) -> list[Run]:
    """The newest run of each model, by the date in its name; sorted by model.

    Raises:
        PlanError: for two runs of one model and one date.
    """
    best: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: (run.model, run.date)):
        other = best.get(run.model)
        if other is not None and other.date == run.date:
            raise PlanError(
                f"Answers.{tool}: two runs of model {run.model!r} have the same date: {other.paths[0]} and "
                f"{run.paths[0]}. Remove one of them"
            )
        best[run.model] = run
    return [best[model] for model in sorted(best)]


def named(setting: Setting, runs: Sequence[Run]) -> Mapping[str, Path]:
    """The files of some runs, by their places in the folder."""
    return {f"{setting.name}/{path.relative_to(setting.root).as_posix()}": path for run in runs for path in run.paths}


def files_of(settings: Iterable[Setting], runs_of: Callable[[Setting], Sequence[Run]]) -> dict[str, Path]:
    """The files of all settings."""
    return {name: path for setting in settings for name, path in named(setting, runs_of(setting)).items()}
