"""The report, from real runs over small pools; what it says is counted again from the ledger."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shutil
import tarfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from poolsieve.dataflow import Pool
from poolsieve.dataflow.decisions.facts import facts_of
from poolsieve.dataflow.decisions.record import SAMPLES
from poolsieve.dataflow.passes.plan import Plan, prepare, prepare_stored
from poolsieve.dataflow.passes.submit import execute
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.store.layout import shards_url
from poolsieve.dataflow.store.manifest import RowCounts, read_cuts, write_manifest
from poolsieve.dataflow.store.summary import Facts, Summary
from poolsieve.filters import Keep, Score, Top, col, scorer
from poolsieve.jobs.report.data import report_data
from poolsieve.jobs.report.numbers import share_text, size_text
from poolsieve.jobs.report.page import render, write_report
from poolsieve.jobs.report.payloads import look_up
from poolsieve.jobs.report.samples import Samples
from poolsieve.jobs.report.truth import read_truth
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger

EVIL = '<script>alert(1)</script> "><img onerror=alert(2)> \u202egnp.exe\u202c \x07'


def brightness(image: pa.Array) -> pa.Array:
    """A user's own scorer, which fails on broken images."""
    try:
        decoded = [np.asarray(Image.open(io.BytesIO(data)).convert("L")) for data in image.to_pylist()]
    except OSError as error:
        raise ValueError(str(error)) from error
    return pa.array([float(values.mean()) for values in decoded], pa.float32())


def picture(level: int, size: tuple[int, int] = (64, 48)) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", size, (level, level, 255 - level)).save(sink, "JPEG")
    return sink.getvalue()


def write_tars(folder: Path, shards: int = 2, rows: int = 60) -> Path:
    """Tars of pictures with captions; rows 7 and 11 of each are a broken picture and none, every fifth caption is hostile."""
    folder.mkdir(parents=True)
    r = np.random.default_rng(3)
    for shard in range(shards):
        with tarfile.open(folder / f"{shard:04d}.tar", "w") as tar:
            for i in range(rows):
                image = picture(int(r.integers(0, 256)))
                image = {7: image[:100], 11: b"no picture"}.get(i, image)
                text = EVIL if i % 5 == 3 else " ".join(["word"] * int(r.integers(1, 9)))
                for extension, data in (("jpg", image), ("txt", text.encode())):
                    info = tarfile.TarInfo(f"{i:05d}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return folder


def executed(plan: Plan, **how: bool) -> Summary:
    """The summary of a run as a report takes it."""
    made = execute(plan, **how)
    made.facts = facts_of(plan.job, plan.gaps)
    return made


def facts_in(summary: Summary) -> Facts:
    assert summary.facts is not None
    return summary.facts


def recipe_of(tars: Path) -> Recipe:
    return (
        Pool.webdataset(f"{tars}/*.tar", text="txt", image="jpg")
        | Keep(col("text").word_count() >= 3, reason="caption.too_short")
        | Score(bright=scorer(brightness, reads=("image",), columns={"mean": "float32"}))
        | Top("bright", fraction="0.5")
    )


class Run:
    """A finished run of the picture pool, whose report each test may write as it likes."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.tars = write_tars(folder / "pool")
        self.prepared: Plan = prepare(recipe_of(self.tars), str(self.out))
        self.summary: Summary = executed(self.prepared)
        write_manifest(self.prepared.job, self.summary)

    def write(self, **options: Any) -> tuple[str, dict[str, Any]]:
        """(html, json)"""
        url = write_report(str(self.out), self.summary, **options)
        return Path(url).read_text(), json.loads(Path(url).with_suffix(".json").read_text())


def samples_of(run: Run) -> Samples:
    found = report_data(str(run.out), run.summary).samples
    assert found is not None
    return found


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    return Run(tmp_path)


class Page(HTMLParser):
    """Tags and visible text of a page; the text of each table row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.lines: list[list[str]] = []
        self.open = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.lines.append([])
        elif tag in ("td", "th") and self.lines:
            self.lines[-1].append("")
            self.open = True

    def handle_endtag(self, tag: str) -> None:
        self.open = self.open and tag not in ("td", "th", "table")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open:
            self.lines[-1][-1] += data.strip()

    def line(self, first: str, cells: int) -> list[str]:
        """The cells of the first table row of that many cells that begins so."""
        return next(line for line in self.lines if len(line) == cells and line[0] == first)


def test_header_funnel_and_reasons_are_those_of_report_json_and_the_ledger(finished: Run) -> None:
    html, data = finished.write()
    page, found = Page(html), ledger(finished.out)
    assert data["rows"]["in"] == found.num_rows == 120
    assert data["rows"]["kept"] == pc.sum(found["keep"]).as_py()
    assert data["rows"]["in"] == sum(data["rows"][key] for key in ("kept", "dropped", "quarantined"))
    for name in ("in", "kept", "dropped", "quarantined"):
        assert f"<dd>{data['rows'][name]:,}<small>" in html
    for line in data["funnel"]:
        if line["kind"] != "score" or line["quarantined"]:
            label = {"read": "read the pool", "score": f"{line['step']}scorer"}.get(line["kind"], line["step"])
            shown = page.line(label, 9)
            assert shown[1:5] == [f"{line[key]:,}" for key in ("in", "out", "dropped", "quarantined")]
            assert shown[5] == share_text(line["yield"]) and shown[7] == share_text(line["of_pool"])
            assert shown[8] == size_text(line["bytes"])
    counted = {item["values"]: item["counts"] for item in found["reason"].drop_null().value_counts().to_pylist()}
    assert {line["reason"]: line["rows"] for line in data["reasons"]} == counted
    for line in data["reasons"]:
        assert page.line(line["reason"], 4)[1] == f"{line['rows']:,}"


def test_the_funnel_adds_up(finished: Run) -> None:
    _, data = finished.write()
    lines = data["funnel"]
    for before, after in itertools.pairwise(lines):
        assert before["out"] == after["in"]
    assert all(line["in"] == line["out"] + line["dropped"] + line["quarantined"] for line in lines)
    assert lines[-1]["out"] == data["rows"]["kept"]
    assert lines[0]["bytes"] == data["bytes"]["in"] and lines[-1]["bytes"] == data["bytes"]["kept"]
    assert data["tokens"] is None and "tokens left" not in finished.write()[0]
    assert sum(line["quarantined"] for line in lines) == data["rows"]["quarantined"] > 0


def test_hostile_text_is_shown_and_does_nothing(finished: Run) -> None:
    html, data = finished.write()
    page = Page(html)
    assert any(row["caption"] == EVIL for row in data["samples"]["kept"])
    assert "<script>alert(1)</script>" in page.text and "<script>alert(1)" not in html
    assert not any(
        tag in ("script", "iframe", "object", "base", "link") and attrs.get("rel") != "icon" for tag, attrs in page.tags
    )
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", html)
    assert "U+202E" in page.text and "U+0007" in page.text


def test_hostile_names_are_escaped_in_drawings_and_attributes(tmp_path: Path) -> None:
    """Everything that a pool or a recipe can name: a column, a group, a path."""
    name, group = '"><script>x</script>', "</text><img src=x onerror=y>"
    (tmp_path / "pool").mkdir()
    r = np.random.default_rng(1)
    table = pa.table({name: r.normal(size=80).astype(np.float32), "lang": ["en", group] * 40, "text": [EVIL] * 80})
    pq.write_table(table, tmp_path / "pool" / "<b>x.parquet")
    recipe = Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text") | Top(
        name, fraction="0.5", by="lang", reason="cut.x"
    )
    prepared = prepare(recipe, str(tmp_path / "out"))
    html = Path(write_report(str(tmp_path / "out"), executed(prepared))).read_text()
    page = Page(html)
    assert not any(
        tag in ("script", "img") or (tag == "b" and attrs) for tag, attrs in page.tags if attrs.get("class") != "score"
    )
    assert name in page.text and group in page.text and "<b>x.parquet" in page.text
    assert "<script>" not in html and "<b>x" not in html


def test_the_page_loads_nothing(finished: Run) -> None:
    html, _ = finished.write()
    sources = [
        value for _, attrs in Page(html).tags for key, value in attrs.items() if key in ("src", "href", "srcset")
    ]
    assert all((value or "").startswith(("data:image/", "#")) for value in sources)
    assert "default-src 'none'" in html and "url(" not in html and "@import" not in html


def test_samples_have_pictures_captions_and_messages(finished: Run) -> None:
    samples = samples_of(finished)
    cut = samples.cuts[0]
    assert cut.value == finished.summary.cuts["bright.below_cut"][""].value
    assert min(row.scores["bright"] for row in cut.kept) == cut.value
    assert all(
        (row.image or "").startswith("data:image/jpeg;base64,") and row.caption for row in cut.kept + cut.dropped
    )
    causes = [group for group in samples.reasons if group.quarantined]
    assert causes and all(row.message and row.image is None for group in causes for row in group.rows)
    assert samples.notes == []


def test_samples_beside_the_cut_of_a_group_are_of_that_group(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    r = np.random.default_rng(6)
    langs = np.array(["de", "en"])[r.integers(0, 2, 400)]
    quality = r.normal(np.where(langs == "en", 0.5, 0.3), 0.1).astype(np.float32)
    pq.write_table(pa.table({"q": quality, "lang": langs, "text": ["a"] * 400}), tmp_path / "pool" / "a.parquet")
    recipe = Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text") | Top("q", fraction="0.5", by="lang")
    prepared = prepare(recipe, str(tmp_path / "out"))
    found = report_data(prepared.job.out, executed(prepared)).samples
    assert found is not None and [cut.group for cut in found.cuts] == ["de", "en"]
    for cut in found.cuts:
        assert len(cut.kept) == len(cut.dropped) == SAMPLES
        assert {row.scores["lang"] for row in cut.kept + cut.dropped} == {cut.group}
        assert max(row.scores["q"] for row in cut.dropped) < cut.value == min(row.scores["q"] for row in cut.kept)


def test_without_samples_nothing_of_a_row_is_in_the_files(finished: Run) -> None:
    html, data = finished.write(samples=False)
    assert data["samples"] is None
    for text in ("alert(1)", "word word", "data:image/jpeg", "Truncated"):
        assert text not in html and text not in json.dumps(data)
    assert "quarantine." in html


def test_report_json_has_no_pictures(finished: Run) -> None:
    _, data = finished.write()
    assert "data:image" not in json.dumps(data) and "caption" in json.dumps(data)
    assert not any("image" in row for row in data["samples"]["kept"])
    assert data["pool"]["roles"] == {"text": "txt", "image": "jpg"}


def test_two_reports_of_a_decision_say_the_same(finished: Run) -> None:
    """Messages too, though Pillow's name the place in memory of what they could not read."""
    (_, first), (_, second) = finished.write(), finished.write()
    messages = [row["message"] for group in first["samples"]["reasons"] for row in group["rows"] if row["message"]]
    assert messages and not any("object at 0x" in message for message in messages)
    assert {**first, "made": ""} == {**second, "made": ""}


def test_a_pool_that_is_gone_leaves_a_report_with_a_note(finished: Run) -> None:
    shutil.rmtree(finished.tars)
    html, data = finished.write()
    assert any("no longer there" in note for note in data["samples"]["notes"])
    assert "no longer there" in html and data["samples"]["cuts"][0]["kept"][0]["caption"] is None
    causes = [group for group in data["samples"]["reasons"] if group["quarantined"]]
    assert all(row["message"] for group in causes for row in group["rows"])


def test_a_changed_file_gives_no_rows_of_another_version(finished: Run) -> None:
    shutil.copy(finished.tars / "0000.tar", finished.tars / "0001.tar")
    samples = samples_of(finished)
    rows = [row for group in samples.reasons for row in group.rows]
    assert any("0001.tar" in note and "changed" in note for note in samples.notes)
    assert all((row.caption is None) == (row.path == "0001.tar") for row in rows)


def test_slow_storage_ends_with_a_note(finished: Run) -> None:
    """A named pipe is a file that hangs: nobody can open it before somebody writes to it."""
    pipe = Path(shards_url(str(finished.out), finished.summary.decision))
    pipe.unlink()
    os.mkfifo(pipe)
    found = look_up(str(finished.out), finished.summary, facts_in(finished.summary), budget=0.0)
    assert any("within 0 s" in note for note in found.notes)
    writer = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    pipe.unlink()  # the thread that was left behind finds no file, or, if it was there already, the end of one
    os.close(writer)


def test_slow_storage_of_one_report_holds_up_no_other(finished: Run) -> None:
    pipe = Path(shards_url(str(finished.out), finished.summary.decision))
    lines = pipe.read_bytes()
    pipe.unlink()
    os.mkfifo(pipe)
    facts = facts_in(finished.summary)
    look_up(str(finished.out), finished.summary, facts, budget=0.2)
    shutil.copytree(finished.out, finished.out.parent / "other", ignore=lambda _, names: {pipe.name} & {*names})
    other = str(finished.out.parent / "other")
    Path(shards_url(other, finished.summary.decision)).write_bytes(lines)
    assert look_up(other, finished.summary, facts).payloads
    writer = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    pipe.unlink()
    os.close(writer)


def test_truth_gives_precision_and_recall_before_and_after(finished: Run, tmp_path: Path) -> None:
    found = ledger(finished.out)
    r = np.random.default_rng(5)
    matches = r.random(found.num_rows) < np.where(found["keep"].to_numpy(), 0.9, 0.3)
    known = np.arange(found.num_rows) >= 10
    path = tmp_path / "truth.parquet"
    pq.write_table(
        pa.table({"uid": found["uid"].combine_chunks().filter(pa.array(known)), "matches": matches[known]}), path
    )
    html, data = finished.write(truth=str(path))
    keep = found["keep"].to_numpy() & known
    every, *_, kept = data["truth"]["stages"]
    assert data["truth"]["unknown"] == 10
    assert every["precision"] == matches[known].mean() and every["recall"] == 1.0
    assert kept["precision"] == matches[keep].mean()
    assert kept["recall"] == (matches & keep).sum() / (matches & known).sum()
    cut = found["reason"].to_numpy() == "bright.below_cut"
    assert data["truth"]["stages"][1]["rows"] == (known & (found["keep"].to_numpy() | cut)).sum()
    assert Page(html).line("kept rows", 5)[3:] == [share_text(kept["precision"]), share_text(kept["recall"])]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"uid": ["a"], "other": [True]}, "can't be read|expected columns"),
        ({"uid": ["a"], "matches": [1]}, "expected columns"),
        ({"uid": ["a", "a"], "matches": [True, False]}, "not to match"),
    ],
)
def test_truth_of_another_shape_is_refused(table: dict[str, Any], message: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(table), tmp_path / "truth.parquet")
    with pytest.raises(PlanError, match=message):
        read_truth(str(tmp_path / "truth.parquet"))
    with pytest.raises(PlanError, match="can't be read"):
        read_truth(str(tmp_path / "missing.parquet"))


def test_throughput_names_the_slowest_stage_and_outlives_a_second_report(finished: Run) -> None:
    html, data = finished.write()
    work = finished.summary.work
    stages = {stage["step"]: stage for stage in data["throughput"]["stages"]}
    assert stages["bright"]["rows"] == work.scored["bright"]
    assert data["throughput"]["bottleneck"] == max(work.seconds, key=work.seconds.get)
    assert data["throughput"]["text"] in Page(html).text
    frozen = read_cuts(str(finished.out / "decisions" / data["decision"] / "cuts.json"))
    again = prepare_stored(recipe_of(finished.tars), str(finished.out), frozen=frozen)
    summary = executed(again, score=False, write=False)
    url = write_report(again.job.out, summary)
    later = json.loads(Path(url).with_suffix(".json").read_text())
    assert later["throughput"] == {**data["throughput"], "earlier": True}
    assert later["cuts"][0]["drift"] is None


def test_a_frozen_cut_on_a_grown_pool_shows_its_drift(tmp_path: Path) -> None:
    first = Run(tmp_path)
    frozen = read_cuts(str(first.out / "decisions" / first.summary.decision / "cuts.json"))
    write_tars(tmp_path / "more", shards=1)
    shutil.move(tmp_path / "more" / "0000.tar", first.tars / "0009.tar")
    prepared = prepare(recipe_of(first.tars), str(tmp_path / "grown"), frozen=frozen)
    data = report_data(prepared.job.out, executed(prepared))
    cut = data.cuts[0]
    made = cut.groups[0]
    assert cut.drift is not None
    assert f"{made.k:,} of {made.competing:,}" in cut.drift and f"{cut.out:,} of the {cut.rows_in:,}" in cut.drift


def test_gaps_are_named(finished: Run) -> None:
    finished.summary.facts = msgspec.structs.replace(facts_in(finished.summary), gaps=("pool/0007.tar",))
    html, data = finished.write()
    assert data["gaps"] == ["pool/0007.tar"] and "pool/0007.tar" in Page(html).text


def test_a_text_pool_and_an_empty_decision(pool: Path, tmp_path: Path) -> None:
    recipe = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Keep(
        col("text").word_count() > 99, reason="a.b"
    )
    prepared = prepare(recipe, str(tmp_path / "out"))
    data = report_data(prepared.job.out, executed(prepared))
    html = render(data)
    assert data.rows == RowCounts(rows_in=1200, kept=0, dropped=1200, quarantined=0)
    assert data.samples is not None
    assert data.samples.cuts == [] and data.samples.reasons[0].rows[0].caption is not None
    assert "0 of 1,200 rows kept" in html and 'id="quarantine"' not in html
