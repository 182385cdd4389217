"""Counts of worker processes, for whoever shows progress."""

from __future__ import annotations

from pathlib import Path

from poolsieve.dataflow import progress
from poolsieve.dataflow.store import layout
from poolsieve.dataflow.store.reports import Reporter, reported, this_process


def test_counts_of_all_processes_are_added_up(tmp_path: Path) -> None:
    out = str(tmp_path)
    assert reported(out, "run") == {}
    Reporter(out, "run").tell({"read": 3, "decide": 1})
    Reporter(out, "run").tell({"read": 4})
    Reporter(out, "other").tell({"read": 100})
    assert reported(out, "run") == {"read": 7, "decide": 1}


def test_a_process_reports_from_time_to_time_only(tmp_path: Path) -> None:
    one = Reporter(str(tmp_path), "run")
    one.tell({"read": 1})
    one.tell({"read": 2})
    assert reported(str(tmp_path), "run") == {"read": 1}
    one.every = 0.0
    one.tell({"read": 3})
    assert reported(str(tmp_path), "run") == {"read": 3}


def test_what_cant_be_read_or_written_is_no_trouble(tmp_path: Path) -> None:
    folder = Path(layout.reports_folder(str(tmp_path), "run"))
    folder.mkdir(parents=True)
    (folder / "broken.json").write_text("{")
    assert reported(str(tmp_path), "run") == {}
    (tmp_path / "file").touch()
    Reporter(str(tmp_path / "file"), "run").tell({"read": 1})


def test_only_another_process_reports(tmp_path: Path) -> None:
    class Told:
        run_id, told = "some-run", 0

        def tell(self) -> None:
            self.told += 1

    job = Told()
    assert progress.for_run(lambda shard, job: shard)("s", job) == "s"
    assert job.told == 1
    assert this_process() == this_process() != ""
