"""Progress while a job runs: a live table in a terminal, else a line every half minute. Only watches; never slows.

Rows come from the counters of this process, and where workers are other processes, from what those report in OUT. For
shards and times left, the files that the job has committed are counted. How many rows a pool has is not known before
it is read, so a time left comes from shards: those done since the start against those to do.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from poolsieve.dataflow import fs, progress
from poolsieve.dataflow.fs import is_local
from poolsieve.dataflow.store import layout
from poolsieve.dataflow.store.job import Job
from poolsieve.dataflow.store.reports import reported
from poolsieve.jobs.report.asked import asked_text
from poolsieve.jobs.report.models import model_line
from poolsieve.jobs.report.numbers import percent_text, rate_text
from poolsieve.scoring_models.base.work import ModelWork

READ, DECIDE = "read", "decide"

LOADING = "loading"

LOG_SECONDS = 30.0
"""Between two lines where there is no terminal."""

WINDOW_SECONDS = 30.0
"""A rate is that of about this long ago until now."""

_DRAW_SECONDS = 0.5
_LOCAL_SECONDS, _REMOTE_SECONDS = 2.0, 10.0
_PAUSE_FACTOR = 20
"""After a listing, at least this many times its own duration passes before the next."""


@dataclass(frozen=True)
class Line:
    """How far one step is. None: not known."""

    step: str
    rows: int | None = None
    rate: float | None = None
    shards: int | None = None
    eta: float | None = None
    model: str = ""
    """What its model does: "loading", or its shares of the time."""


@dataclass
class Rate:
    """Rows a second over the last while, from samples of (time, rows)."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    def add(self, now: float, rows: int) -> float | None:
        """Notes where the count stands; the rate since about `WINDOW_SECONDS` ago."""
        self.samples.append((now, rows))
        while len(self.samples) > 2 and now - self.samples[1][0] >= WINDOW_SECONDS:
            self.samples.pop(0)
        first, before = self.samples[0]
        return (rows - before) / (now - first) if now > first and rows > before else None


@dataclass
class Done:
    """Shards of which a step's file is there, at the start and now."""

    first: int
    now: int
    since: float = 0.0

    def eta(self, total: int, elapsed: float) -> float | None:
        """Seconds left at the pace since the start; None before the first shard, and when none is left."""
        made, left = self.now - self.first, total - self.now
        return elapsed * left / made if made > 0 and left > 0 and elapsed > 0 else None


class Files(threading.Thread):
    """Counts committed files in the background, since a listing of remote storage may take long."""

    ending = ".parquet"
    """Of the names that count."""

    def __init__(self, folders: Mapping[str, str], local: bool, reports: Callable[[], Mapping[str, int]]) -> None:
        super().__init__(daemon=True, name="poolsieve-progress")
        self.reports = reports
        self.rows: Mapping[str, int] = {}
        self.only: frozenset[str] | None = None
        self.folders, self.pause = folders, _LOCAL_SECONDS if local else _REMOTE_SECONDS
        self.counts: dict[str, Done] = {}
        self.stop = threading.Event()

    def run(self) -> None:
        """Counts until told to stop."""
        while not self.stop.is_set():
            started = time.monotonic()
            self.count()
            self.stop.wait(max(self.pause, (time.monotonic() - started) * _PAUSE_FACTOR))

    def count(self) -> None:
        """One look at every folder; trouble with the storage is the job's to report, not ours."""
        with contextlib.suppress(Exception):
            self.rows = self.reports()
        for step, folder in self.folders.items():
            try:
                files = [name for name in fs.names(folder) if name.endswith(self.ending)]
            except Exception:  # noqa: BLE001  (a display must not end a job)
                return
            # A shard has several files of scores where rows were scored later.
            there = {layout.shard_of_file(name) for name in files}
            shards = len(there if self.only is None else there & self.only)
            known = self.counts.get(step)
            first = known.first if known else shards
            self.counts[step] = Done(first, shards, time.monotonic())


class Display:
    """Shows a job's progress until it is done: `execute(prepared, watch=Display(job, shards).watch)`.

    `only`: names of the shards that count, where others work at the same OUT (a part of a run); None for all.
    """

    cuts: bool | None = None
    """Whether cuts are searched for; None where nothing is decided."""

    counted = "shards"
    """What a step's files are of."""

    kind_of_files = Files
    _reports: Callable[[], Mapping[str, int]] = staticmethod(dict)

    def __init__(
        self,
        job: Job,
        shard_count: int,
        *,
        console: Console | None = None,
        log_seconds: float = LOG_SECONDS,
        only: frozenset[str] | None = None,
    ) -> None:
        scorers = job.program.scorers
        folders = {READ: layout.rows_folder(job.out), **{step.name: job.folder(step) for step in scorers}}
        self._reports = lambda: reported(job.out, job.run_id)
        self.cuts = bool(set(job.program.marks) - set(job.frozen))
        self._begin([READ, *(step.name for step in scorers), DECIDE], folders, shard_count, console, log_seconds)
        self.files.only = only

    def _begin(
        self,
        steps: Sequence[str],
        folders: Mapping[str, str],
        shard_count: int,
        console: Console | None,
        log_seconds: float,
    ) -> None:
        self.steps, self.shard_count, self.log_seconds = steps, shard_count, log_seconds
        self.console = console or Console(stderr=True)
        self.rates: dict[str, Rate] = {step: Rate() for step in steps}
        self.started = time.monotonic()
        local = is_local(fs.connect(next(iter(folders.values())))[0])
        self.files = self.kind_of_files(folders, local, self._reports)

    def watch(self, done: threading.Event) -> None:
        """Shows progress until `done` is set. Ctrl-C passes through to whoever called."""
        self.started = time.monotonic()
        self.files.start()
        try:
            if self.console.is_terminal:
                self._live(done)
            else:
                self._log(done)
        finally:
            self.files.stop.set()

    def _live(self, done: threading.Event) -> None:
        # Drawn here and not by Live's own thread, so that nothing is drawn that was not asked for.
        with Live(self.table(), console=self.console, auto_refresh=False, transient=True) as live:
            while not done.wait(_DRAW_SECONDS):
                live.update(self.table(), refresh=True)

    def _log(self, done: threading.Event) -> None:
        while not done.wait(self.log_seconds):
            self.console.print(self.text(), markup=False, highlight=False, soft_wrap=True)

    def lines(self, now: float | None = None) -> list[Line]:
        """How far each step is that has begun, or has been begun by an earlier run."""
        now = time.monotonic() if now is None else now
        counts, models, loading = self._counts(), progress.models(), progress.being_loaded()
        said = {step: model_text(work) for step, work in models.items()} | dict.fromkeys(loading, LOADING)
        others = [step for step in counts if step not in self.steps and step in self.files.rows]
        steps = [*self.steps[:-1], *others, self.steps[-1]]
        return [line for step in steps for line in self._line(step, counts.get(step), now, said.get(step, ""))]

    def _counts(self) -> dict[str, int]:
        """Rows finished, by this process and by workers elsewhere."""
        counts = progress.counts()
        for step, rows in self.files.rows.items():
            counts[step] = counts.get(step, 0) + rows
        return counts

    def phase(self, lines: Sequence[Line]) -> str:
        """What happens while no step shows it: all that was begun is scored, and nothing is decided."""
        if self.cuts is None or not lines or lines[-1].step == DECIDE:
            return ""
        if any((line.shards or 0) < self.shard_count for line in lines):
            return ""
        return "finding cuts, deciding" if self.cuts else "deciding"

    def _line(self, step: str, rows: int | None, now: float, model: str) -> Iterator[Line]:
        files = self.files.counts.get(step)
        shards = min(files.now, self.shard_count) if files else None
        eta = files.eta(self.shard_count, files.since - self.started) if files else None
        if eta is not None and files is not None:
            eta = max(eta - (now - files.since), 0.0)
        rate = self.rates.setdefault(step, Rate()).add(now, rows) if rows is not None else None
        if rows is not None or model or (files and files.now > files.first):
            yield Line(step, rows, rate, shards, eta, model)

    def table(self) -> RenderableType:
        """The progress as a terminal shows it: a table of steps, and below it a line for each model."""
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        elapsed = time.monotonic() - self.started
        lines, left = self.newest(self.lines())
        if left:
            table.add_row(Text(f"{left} steps before", style="dim"))
        for line in lines:
            if line.rows is not None or line.shards is not None:
                table.add_row(*self._cells(line))
        if not lines:
            table.add_row(Text(f"starting, {duration(elapsed)}", style="dim"))
        if phase := self.phase(lines):
            table.add_row(Text(f"{phase}, {duration(elapsed)}", style="dim"))
        models = [
            Text(_model_words(line), style="dim", no_wrap=True, overflow="ellipsis") for line in lines if line.model
        ]
        return Group(table, *models)

    def newest(self, lines: list[Line]) -> tuple[list[Line], int]:
        """As many of the last lines as the terminal has room for, and how many come before them."""
        room = max(self.console.height - sum(1 for line in lines[-self.console.height :] if line.model) - 2, 4)
        return lines[-room:], max(len(lines) - room, 0)

    def _cells(self, line: Line) -> Sequence[RenderableType]:
        done = line.shards is not None and line.shards >= self.shard_count
        known = line.shards is not None
        bar = ProgressBar(total=self.shard_count, completed=line.shards or 0, width=24) if known else Text("")
        eta = "" if done else f"{duration(line.eta)} left" if line.eta is not None else ""
        return (
            Text(line.step, style="bold"),
            bar,
            Text(f"{line.shards:,}/{self.shard_count:,} {self.counted}" if known else "", style="dim"),
            Text(f"{line.rows:,} rows" if line.rows is not None else "", justify="right"),
            Text(pace_text(line.rate), justify="right", style="cyan"),
            Text(eta, justify="right"),
        )

    def text(self) -> str:
        """The progress as one line of a log."""
        lines = self.lines()
        elapsed = duration(time.monotonic() - self.started)
        if not lines:
            return f"poolsieve {elapsed}: starting"
        pace = {(line.shards, line.eta and round(line.eta)) for line in lines}
        if len(pace) > 1:
            # Steps are at different shards: another pass, or an earlier run had come further with some.
            return f"poolsieve {elapsed}: {'; '.join(f'{_words(line)}{self._pace(line)}' for line in lines)}"
        said = self._pace(lines[0]).removeprefix(", ")
        last = filter(None, [self.phase(lines)])
        return f"poolsieve {elapsed}: {'; '.join([*filter(None, [said]), *map(_words, lines), *last])}"

    def _pace(self, line: Line) -> str:
        shards = f", {line.shards:,}/{self.shard_count:,} {self.counted}" if line.shards is not None else ""
        return shards + (f", {duration(line.eta)} left" if line.eta is not None else "")


def pace_text(rate: float | None) -> str:
    """Rows a second, or a minute where a row takes seconds.

    >>> pace_text(1234.5), pace_text(2.5), pace_text(0.05), pace_text(None)
    ('1,234 rows/s', '2.5 rows/s', '3 rows/min', '')
    """
    if not rate:
        return ""
    return f"{rate_text(rate)} rows/s" if rate >= 1 else f"{rate_text(60 * rate)} rows/min"


def model_text(work: ModelWork) -> str:
    """`model 78 %, decoding 20 %, no rows 2 %`: of the time of a CPU's cores, or of a device's own, since the start."""
    if work.requests:
        return asked_text(work)
    line = model_line("", work)
    shares = {"model": line.in_model, "decoding": line.decoding, "no rows": line.waiting}
    return ", ".join(f"{name} {percent_text(share)}" for name, share in shares.items()) if work.rows else ""


def _model_words(line: Line) -> str:
    return f"{LOADING} {line.step}" if line.model == LOADING else f"{line.step}: {line.model}"


def _words(line: Line) -> str:
    if line.model == LOADING:
        return _model_words(line)
    said = ", ".join(filter(None, [pace_text(line.rate), line.model]))
    return f"{line.step} {line.rows:,} rows{f' ({said})' if said else ''}" if line.rows is not None else line.step


def duration(seconds: float) -> str:
    """`0:42`, `12:05`, `3:04:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
