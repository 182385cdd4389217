"""The funnel as a notebook shows it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from poolsieve.dataflow import Pool
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.store.out import OutFolder
from poolsieve.filters import Keep, Top, col
from poolsieve.jobs import api
from poolsieve.jobs.report.notebook import funnel_html
from poolsieve.jobs.report.numbers import rows_text, share_text
from tests.conftest import run


class Table(HTMLParser):
    """The cells of each row, and every tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.caption, self.inside = "", ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in ("caption", "td", "th") else self.inside
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag in ("caption", "td", "th") else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside == "caption":
            self.caption += data
        elif self.inside:
            self.rows[-1][-1] += data


def recipe(pool: Path, reason: str) -> Recipe:
    files = Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text")
    return (
        files | Keep(col("text").word_count() >= 3, reason=reason) | Keep(col("text").char_count() < 60, reason="b.c")
    )


def test_it_shows_what_the_summary_says(pool: Path, tmp_path: Path) -> None:
    run(recipe(pool, "text.short"), tmp_path / "out")
    out = OutFolder(str(tmp_path / "out"))
    shown = Table(funnel_html(out))
    header, *lines = shown.rows
    assert header == ["step", "rows in", "rows out", "left of the pool"]
    assert lines == [
        [line.step, rows_text(line.rows_in), rows_text(line.out), share_text(line.out / 1200)]
        for line in out.summary.funnel
    ]
    assert len(lines) == 4 and lines[-1][2] == rows_text(out.counts.kept)
    assert shown.caption.startswith(f"{out.counts.kept} of 1,200 rows kept, {out.counts.dropped} dropped")
    assert api.open(tmp_path / "out")._repr_html_() == funnel_html(out)


def test_numbers_stand_to_the_right_and_nothing_is_loaded_or_run(pool: Path, tmp_path: Path) -> None:
    run(recipe(pool, "text.short"), tmp_path / "out")
    shown = Table(funnel_html(OutFolder(str(tmp_path / "out"))))
    cells = [attrs["style"] or "" for tag, attrs in shown.tags if tag in ("td", "th")]
    for i, style in enumerate(cells):
        assert ("text-align:right" in style) == (i % 4 > 0)
    assert {tag for tag, _ in shown.tags} <= {"table", "caption", "b", "code", "thead", "tbody", "tr", "td", "th"}
    assert {name for _, attrs in shown.tags for name in attrs} == {"style"}


def test_names_are_escaped(tmp_path: Path) -> None:
    """A score is called as its column is, and columns are called as somebody liked."""
    name = '<script>alert(1)</script> "><img src=x onerror=y> \u202eb'
    (tmp_path / "pool").mkdir()
    pq.write_table(pa.table({name: pa.array([0.25, 0.5, 0.75], pa.float32())}), tmp_path / "pool" / "part.parquet")
    run(Pool.parquet(f"{tmp_path}/pool/*.parquet") | Top(name, count=1, reason="a.b"), tmp_path / "out")
    html = funnel_html(OutFolder(str(tmp_path / "out")))
    shown = Table(html)
    assert [line[0] for line in shown.rows[1:]] == [name.replace("\u202e", "⌈U+202E⌋"), "a.b"]
    assert not {"script", "img"} & {tag for tag, _ in shown.tags} and "\u202e" not in html


def test_an_empty_pool(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    nothing = pa.table({"uid": pa.array([], pa.string()), "text": pa.array([], pa.string())})
    pq.write_table(nothing, tmp_path / "pool" / "part.parquet")
    run(recipe(tmp_path / "pool", "text.short"), tmp_path / "out")
    shown = Table(funnel_html(OutFolder(str(tmp_path / "out"))))
    assert shown.caption.startswith("0 of 0 rows kept, 0 dropped, 0 quarantined")
    assert [line[1:] for line in shown.rows[1:]] == [["0", "0", share_text(0)]] * (len(shown.rows) - 1)
