"""Progress: what is said while a job runs, with and without a terminal."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from poolsieve.dataflow import Pool, fs, progress
from poolsieve.dataflow.passes.plan import Plan, prepare
from poolsieve.dataflow.passes.splitting import split_by_workers
from poolsieve.dataflow.passes.submit import execute
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.dataflow.store import layout
from poolsieve.dataflow.store.reports import Reporter
from poolsieve.dataflow.store.splits import split
from poolsieve.filters import Keep, col
from poolsieve.jobs import display
from poolsieve.jobs.display import Display, Done, Line, Rate, duration, pace_text
from poolsieve.jobs.display_splitting import SplittingDisplay
from poolsieve.scoring_models.base.work import ModelWork


@pytest.fixture
def prepared(pool: Path, tmp_path: Path) -> Iterator[Plan]:
    progress.reset()
    recipe = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Keep(col("text").word_count() > 3)
    yield prepare(recipe, str(tmp_path / "out"))
    progress.reset()


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)


def text_of(shown: Console) -> str:
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


def test_a_log_line_from_time_to_time(prepared: Plan) -> None:
    shown = console(False)
    watcher = Display(prepared.job, 3, console=shown, log_seconds=0.05)
    done = threading.Event()
    threading.Timer(0.4, done.set).start()
    progress.add("read", 800)
    progress.add("text.word_count", 500)
    watcher.watch(done)
    lines = text_of(shown).splitlines()
    assert 3 <= len(lines) <= 9
    assert all(line.startswith("poolsieve 0:0") for line in lines)
    assert "read 800 rows" in lines[-1] and "text.word_count 500 rows" in lines[-1] and "\x1b" not in lines[-1]


def test_a_job_shorter_than_the_first_line_says_nothing(prepared: Plan) -> None:
    shown = console(False)
    execute(prepared, watch=Display(prepared.job, 3, console=shown).watch)
    assert text_of(shown) == ""


def test_a_live_table_in_a_terminal(prepared: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "_DRAW_SECONDS", 0.02)
    shown = console(True)
    execute(prepared, watch=Display(prepared.job, 3, console=shown).watch)
    text = text_of(shown)
    assert "read" in text and "text.word_count" in text and "1,200 rows" in text


def test_where_workers_are_elsewhere_committed_shards_are_counted(prepared: Plan) -> None:
    watcher = Display(prepared.job, 4, console=console(False))
    step = prepared.job.program.scorers[0]
    rows, scores = layout.rows_folder(prepared.job.out), prepared.job.folder(step)
    fs.write_bytes(fs.join(rows, "old-1.aa.parquet"), b"")
    watcher.files.count()
    assert watcher.lines() == []
    for name in ("new-1.aa.parquet", "new-2.aa.parquet"):
        fs.write_bytes(fs.join(rows, name), b"")
        fs.write_bytes(fs.join(scores, name.replace(".parquet", "-00.parquet")), b"")
    watcher.started = time.monotonic() - 10
    watcher.files.count()
    read, scored = watcher.lines()
    assert (read.step, read.rows, read.shards) == ("read", None, 3)
    assert read.eta == pytest.approx(5, abs=0.5)
    assert (scored.step, scored.shards) == (step.name, 2) and scored.eta == pytest.approx(10, abs=0.5)
    assert "read, 3/4 shards, 0:05 left; " in watcher.text()


def test_two_files_of_a_shard_are_one_shard(prepared: Plan) -> None:
    watcher = Display(prepared.job, 4, console=console(False))
    folder = prepared.job.folder(prepared.job.program.scorers[0])
    watcher.files.count()
    for name in ("a-1.aa-00.parquet", "a-1.aa-11.parquet", "b-1.aa-00.parquet", "scorer.json"):
        fs.write_bytes(fs.join(folder, name), b"")
    watcher.files.count()
    assert [line.shards for line in watcher.lines()] == [2]


def test_storage_trouble_ends_no_job(prepared: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> list[str]:
        raise PermissionError(url)

    monkeypatch.setattr(display.fs, "names", refuse)
    watcher = Display(prepared.job, 3, console=console(False), log_seconds=0.05)
    done = threading.Event()
    threading.Timer(0.12, done.set).start()
    watcher.watch(done)
    assert "starting" in text_of(watcher.console)


def test_ctrl_c_passes_through_and_stops_the_counting(prepared: Plan) -> None:
    class Interrupting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    watcher = Display(prepared.job, 3, console=console(True))
    with pytest.raises(KeyboardInterrupt):
        watcher.watch(Interrupting())
    watcher.files.join(5)
    assert not watcher.files.is_alive()


def test_big_files_are_counted_while_they_are_split(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_text('{"text": "some words here"}\n' * 99)
    recipe = Pool.jsonl(f"{tmp_path}/*.jsonl", text="text", split_bytes=1000) | Keep(col("text").word_count() > 1)
    made = prepare(recipe, str(tmp_path / "out"))
    shown = console(False)
    watcher = SplittingDisplay(made, console=shown, log_seconds=0.05)
    watcher.files.count()
    assert len(made.unsplit) == 3 and watcher.lines() == []
    split(made.job.out, made.job.files, made.unsplit[0])
    watcher.files.count()
    assert "1/3 files" in watcher.text()
    shown_too = SplittingDisplay(made, console=console(True))
    done = threading.Event()
    split_by_workers(made, Engine("local", 1), shown_too.watch)
    threading.Timer(0.2, done.set).start()
    watcher.watch(done)
    assert "3/3 files" in text_of(shown)


def test_remote_storage_is_listed_rarely(pool: Path) -> None:
    recipe = Pool.parquet(f"{pool}/*.parquet", text="text") | Keep(col("text").word_count() > 3)
    watcher = Display(prepare(recipe, "memory://display/out").job, 3, console=console(False))
    assert watcher.files.pause >= 10


def test_a_rate_is_of_the_last_while() -> None:
    rate = Rate()
    assert rate.add(0, 100) is None
    assert rate.add(10, 1100) == 100
    for i in range(1, 100):
        last = rate.add(10 + i, 1100 + i)
    assert last == pytest.approx(1) and len(rate.samples) < 40


def test_no_time_left_is_claimed_without_evidence() -> None:
    assert Done(5, 5).eta(10, 60) is None
    assert Done(5, 10).eta(10, 60) is None
    assert Done(5, 12).eta(10, 60) is None
    assert Done(5, 6).eta(10, 60) == 240


def test_a_panel_has_more_steps_than_a_terminal_has_lines(prepared: Plan) -> None:
    watcher = Display(prepared.job, 3, console=console(True))
    watcher.console.height = 10
    lines = [Line(f"step {i}", rows=i) for i in range(100)]
    shown, before = watcher.newest(lines)
    assert shown == lines[-8:] and before == 92
    assert watcher.newest(lines[:3]) == (lines[:3], 0)
    telling = [Line(f"step {i}", rows=i, model="model 9 %") for i in range(100)]
    assert len(watcher.newest(telling)[0]) == 4  # each has a second line


def test_slow_steps_have_a_pace() -> None:
    assert [pace_text(rate) for rate in (None, 0, 4321.0, 12.4, 1.25, 0.5, 0.004)] == [
        *("", "", "4,321 rows/s", "12 rows/s", "1.2 rows/s", "30 rows/min", "0.24 rows/min")
    ]


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 42, 725, 11045)] == ["0:00", "0:42", "12:05", "3:04:05"]


def test_a_model_that_is_being_loaded_and_then_what_it_does(prepared: Plan) -> None:
    watcher = Display(prepared.job, 3, console=console(True))
    step = prepared.job.program.scorers[0].name
    assert watcher.text().endswith("starting")
    with progress.loading(step):
        assert watcher.text().endswith(f": loading {step}")
        watcher.console.print(watcher.table())
        assert text_of(watcher.console).strip() == f"loading {step}"
    assert watcher.text().endswith("starting")
    progress.add(step, 5)
    for seconds in (1.0, 2.0):
        progress.add_model(
            step, ModelWork(rows=2, seconds=seconds, core_seconds=2 * seconds, infer_seconds=1.5 * seconds)
        )
    said = "model 75 %, decoding 0 %, no rows 25 %"
    assert f"{step} 5 rows ({said})" in watcher.text().replace("\N{NO-BREAK SPACE}", " ")
    watcher.console.print(watcher.table())
    assert f"{step}: {said}\n" in text_of(watcher.console).replace("\N{NO-BREAK SPACE}", " ")


def test_a_run_that_starts_anew_forgets_what_was_being_loaded(prepared: Plan) -> None:
    with progress.loading("a"):
        progress.reset()
        assert progress.being_loaded() == [] and progress.models() == {}
    with progress.loading("a"):
        assert progress.being_loaded() == ["a"]


def test_a_model_that_can_not_be_loaded_is_no_longer_shown(prepared: Plan) -> None:
    with pytest.raises(OSError, match="no weights"), progress.loading("a"):
        raise OSError("no weights")
    assert progress.being_loaded() == []


def test_cuts_and_decisions_show_where_no_step_does(prepared: Plan) -> None:
    shown = Display(prepared.job, 3)
    assert shown.phase([Line("read", 10, shards=2)]) == ""
    assert shown.phase([Line("read", 10, shards=3)]) == "deciding"
    shown.cuts = True
    assert shown.phase([Line("read", 10, shards=3)]) == "finding cuts, deciding"
    assert shown.phase([Line("read", 10, shards=3), Line("decide", 5)]) == ""


def test_rows_of_workers_elsewhere_are_added(prepared: Plan) -> None:
    Reporter(prepared.job.out, prepared.job.run_id).tell({"read": 30, "cut clip": 20})
    shown = Display(prepared.job, 3)
    progress.add("read", 5)
    shown.files.count()
    assert [(line.step, line.rows) for line in shown.lines()] == [("read", 35), ("cut clip", 20)]
