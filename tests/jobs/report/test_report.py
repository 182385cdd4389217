"""The report, from real runs over small pools; what it says is counted again from the ledger."""

from __future__ import annotations

import io
import itertools
import json
import re
import shutil
import tarfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from poolsieve.dataflow import Pool
from poolsieve.dataflow.decisions.decide import _bins
from poolsieve.dataflow.passes.submit import Plan, execute, prepare, prepare_stored
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.store.manifest import read_cuts, write_manifest
from poolsieve.filters import Keep, Score, Top, col, scorer
from poolsieve.filters.dsl.cuts import order_keys
from poolsieve.jobs.report.data import render, report_data, write_report
from poolsieve.jobs.report.histograms import BINS, chart, compact, nice_ticks, rebin
from poolsieve.jobs.report.numbers import harmless, number, seconds_text, share, short, size
from poolsieve.jobs.report.samples import samples_data, thumbnail
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
    """Tars of pictures with captions; rows 7 and 11 of each are broken, every fifth caption is hostile."""
    folder.mkdir(parents=True)
    r = np.random.default_rng(3)
    for shard in range(shards):
        with tarfile.open(folder / f"{shard:04d}.tar", "w") as tar:
            for i in range(rows):
                image = picture(int(r.integers(0, 256)))
                image = image[:100] if i in (7, 11) else image
                text = EVIL if i % 5 == 3 else " ".join(["word"] * int(r.integers(1, 9)))
                for extension, data in (("jpg", image), ("txt", text.encode())):
                    info = tarfile.TarInfo(f"{i:05d}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return folder


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
        self.summary: dict[str, Any] = execute(self.prepared)
        write_manifest(self.prepared.job, self.summary, {})

    def write(self, **options: Any) -> tuple[str, dict[str, Any]]:
        """(html, json)"""
        url = write_report(self.prepared.job, self.summary, **options)
        return Path(url).read_text(), json.loads(Path(url).with_suffix(".json").read_text())


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
            assert shown[5] == share(line["yield"]) and shown[7] == share(line["of_pool"])
            assert shown[8] == size(line["bytes"])
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
    html = Path(write_report(prepared.job, execute(prepared))).read_text()
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
    data = report_data(finished.prepared.job, finished.summary)
    cut = data["samples"]["cuts"][0]
    assert cut["value"] == finished.summary.cuts["bright.below_cut"][""].value
    assert min(row["scores"]["bright"] for row in cut["kept"]) == cut["value"]
    assert all(
        row["image"].startswith("data:image/jpeg;base64,") and row["caption"] for row in cut["kept"] + cut["dropped"]
    )
    causes = [group for group in data["samples"]["reasons"] if group["quarantined"]]
    assert causes and all(row["message"] and row["image"] is None for group in causes for row in group["rows"])
    assert data["samples"]["notes"] == []


def test_without_samples_nothing_of_a_row_is_in_the_files(finished: Run) -> None:
    html, data = finished.write(samples=False)
    assert data["samples"] is None
    for text in ("alert(1)", "word word", "data:image/jpeg", "Truncated"):
        assert text not in html and text not in json.dumps(data)
    assert "quarantine." in html


def test_report_json_has_no_pictures(finished: Run) -> None:
    _, data = finished.write()
    assert "data:image" not in json.dumps(data) and "caption" in json.dumps(data)


def test_a_pool_that_is_gone_leaves_a_report_with_a_note(finished: Run) -> None:
    shutil.rmtree(finished.tars)
    html, data = finished.write()
    assert any("no longer there" in note for note in data["samples"]["notes"])
    assert "no longer there" in html and data["samples"]["cuts"][0]["kept"][0]["caption"] is None
    causes = [group for group in data["samples"]["reasons"] if group["quarantined"]]
    assert all(row["message"] for group in causes for row in group["rows"])


def test_a_changed_file_gives_no_rows_of_another_version(finished: Run) -> None:
    shutil.copy(finished.tars / "0000.tar", finished.tars / "0001.tar")
    data = report_data(finished.prepared.job, finished.summary)
    rows = [row for group in data["samples"]["reasons"] for row in group["rows"]]
    assert any("0001.tar" in note and "changed" in note for note in data["samples"]["notes"])
    assert all((row["caption"] is None) == (row["path"] == "0001.tar") for row in rows)


def test_slow_storage_ends_with_a_note(finished: Run) -> None:
    found = samples_data(finished.prepared.job, finished.summary, budget=0.0)
    assert any("within 0 s" in note for note in found["notes"])


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
    assert Page(html).line("kept rows", 5)[3:] == [share(kept["precision"]), share(kept["recall"])]


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
    summary = execute(again, score=False, write=False)
    url = write_report(again.job, summary)
    later = json.loads(Path(url).with_suffix(".json").read_text())
    assert later["throughput"] == {**data["throughput"], "earlier": True}
    assert later["cuts"][0]["drift"] is None


def test_a_frozen_cut_on_a_grown_pool_shows_its_drift(tmp_path: Path) -> None:
    first = Run(tmp_path)
    frozen = read_cuts(str(first.out / "decisions" / first.summary.decision / "cuts.json"))
    write_tars(tmp_path / "more", shards=1)
    shutil.move(tmp_path / "more" / "0000.tar", first.tars / "0009.tar")
    prepared = prepare(recipe_of(first.tars), str(tmp_path / "grown"), frozen=frozen)
    data = report_data(prepared.job, execute(prepared))
    cut = data["cuts"][0]
    made = cut["groups"][0]
    assert (
        f"{made['k']:,} of {made['competing']:,}" in cut["drift"]
        and f"{cut['out']:,} of the {cut['in']:,}" in cut["drift"]
    )


def test_gaps_are_named(finished: Run) -> None:
    html, data = finished.write(gaps=("pool/0007.tar",))
    assert data["gaps"] == ["pool/0007.tar"] and "pool/0007.tar" in Page(html).text


def test_a_text_pool_and_an_empty_decision(pool: Path, tmp_path: Path) -> None:
    recipe = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text") | Keep(
        col("text").word_count() > 99, reason="a.b"
    )
    prepared = prepare(recipe, str(tmp_path / "out"))
    data = report_data(prepared.job, execute(prepared))
    html = render(data)
    assert data["rows"] == {"in": 1200, "kept": 0, "dropped": 1200, "quarantined": 0}
    assert data["samples"]["cuts"] == [] and data["samples"]["reasons"][0]["rows"][0]["caption"] is not None
    assert "0 of 1,200 rows kept" in html and 'id="quarantine"' not in html


def histogram(values: np.ndarray[Any, Any], kept: np.ndarray[Any, Any]) -> dict[str, list[int]]:
    keys, _ = order_keys(pa.array(values.astype(np.float32)), lowest=True)
    digits = (keys >> np.uint64(16)).astype(np.int64)
    yes, no = _bins(digits[kept]), _bins(digits[~kept])
    return {str(digit): [yes.get(digit, 0), no.get(digit, 0)] for digit in {*yes, *no}}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.floats(width=32, allow_nan=False), st.booleans()), min_size=1, max_size=300), st.booleans()
)
def test_rebinning_loses_no_row(rows: list[tuple[float, bool]], whole: bool) -> None:
    values, kept = np.array([value for value, _ in rows]), np.array([keep for _, keep in rows])
    made = rebin(histogram(values, kept), whole=whole)
    if made is None:
        assert not np.isfinite(values).any()
        return
    assert sum(made["kept"]) + sum(made["dropped"]) + made["below"] + made["above"] + made["infinite"] == len(rows)
    assert len(made["edges"]) == len(made["kept"]) + 1 == len(made["dropped"]) + 1
    assert len(made["kept"]) <= BINS + 2
    assert (np.diff(made["edges"]) > 0).all()
    chart({**made, "marks": []})


def test_rebinned_bars_are_those_of_numpy() -> None:
    r = np.random.default_rng(2)
    values = r.normal(0.25, 0.05, 200_000).astype(np.float32)
    made = rebin(histogram(values, values >= 0.27), [0.27], low=0.27)
    assert made is not None
    direct, _ = np.histogram(values, made["edges"])
    both = np.array(made["kept"]) + np.array(made["dropped"])
    assert np.abs(both - direct).max() < 0.05 * direct.max()
    assert min(abs(edge - 0.27) for edge in made["edges"]) < 1e-9
    middles = (np.array(made["edges"][1:]) + np.array(made["edges"][:-1])) / 2
    assert not np.array(made["kept"])[middles < 0.27].any()


def test_whole_numbers_have_a_bar_each() -> None:
    values = np.repeat(np.arange(12), np.arange(12) + 1)
    made = rebin(histogram(values, values > 3), whole=True)
    assert made is not None and made["edges"] == [i - 0.5 for i in range(13)]
    assert [k + d for k, d in zip(made["kept"], made["dropped"], strict=True)] == list(range(1, 13))


def test_ticks_are_round() -> None:
    assert nice_ticks(0.13, 0.41, 6) == [0.15, 0.2, 0.25, 0.3, 0.35, 0.4]
    assert nice_ticks(-3, 17, 4) == [0, 5, 10, 15]
    assert [compact(n) for n in (0, 950, 1200, 2_000_000)] == ["0", "950", "1.2k", "2M"]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16", "I", "F"])
def test_thumbnails_of_every_mode(mode: str) -> None:
    gradient = np.tile(np.linspace(0, 255, 300), (200, 1))
    if mode in ("I;16", "I"):
        image = Image.fromarray((gradient * 257).astype(np.uint16 if mode == "I;16" else np.int32))
    elif mode == "F":
        image = Image.fromarray(gradient.astype(np.float32))
    else:
        image = Image.fromarray(gradient.astype(np.uint8)).convert("RGB" if mode == "CMYK" else "L").convert(mode)
    sink = io.BytesIO()
    image.save(sink, "JPEG" if mode == "CMYK" else "TIFF")
    small = Image.open(io.BytesIO(thumbnail(sink.getvalue())))
    grey = np.asarray(small.convert("L"), dtype=float)
    assert small.format == "JPEG" and small.mode == "RGB" and max(small.size) == 160
    assert grey[:, :20].mean() < 60 and grey[:, -20:].mean() > 195


def test_thumbnails_are_upright_and_refuse_what_is_no_image() -> None:
    image, sink = Image.new("RGB", (40, 20)), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(sink, "JPEG", exif=exif)
    assert Image.open(io.BytesIO(thumbnail(sink.getvalue()))).size == (20, 40)
    with pytest.raises(ValueError, match="identify"):
        thumbnail(b"no image")


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_harmless_text_can_be_written_and_never_reorders(text: str) -> None:
    shown = harmless(text)
    shown.encode()
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]", shown
    )


def test_numbers_for_people() -> None:
    assert share(0.99999) == "99.9\N{NO-BREAK SPACE}%" and share(1.0) == "100\N{NO-BREAK SPACE}%" and share(None) == "–"
    assert share(0.00001) == "< 0.01\N{NO-BREAK SPACE}%" and share(0) == "0\N{NO-BREAK SPACE}%"
    assert number(float(np.float32(0.272))) == "0.272" and number(64) == "64" and number(float("inf")) == "inf"
    assert [short(n) for n in (None, 0, 999, 1234, 999_700, 5 * 10**9, 2 * 10**12)] == [
        *("\N{EN DASH}", "0", "999", "1.23\N{NO-BREAK SPACE}k", "1\N{NO-BREAK SPACE}M", "5\N{NO-BREAK SPACE}B"),
        "2,000\N{NO-BREAK SPACE}B",
    ]
    assert size(1234567) == "1.23\N{NO-BREAK SPACE}MB"
    assert [seconds_text(s) for s in (0.123, 12.34, 250, 11100)] == [
        "0.12 s",
        "12.3 s",
        "4 min 10 s",
        "3 h 5 min",
    ]
