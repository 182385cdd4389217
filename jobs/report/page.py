"""The report as files: `report.json`, and `page.html.j2` filled in, which is one file that loads nothing."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolsieve.dataflow import fs
from poolsieve.dataflow.store.layout import report_url
from poolsieve.dataflow.store.summary import Summary
from poolsieve.jobs.report.asked import cost_text
from poolsieve.jobs.report.charts import chart_of
from poolsieve.jobs.report.data import ReportData, report_data, report_json
from poolsieve.jobs.report.duplicates import size_chart
from poolsieve.jobs.report.numbers import (
    cores_text,
    count_text,
    harmless,
    percent_text,
    rate_text,
    rows_text,
    score_text,
    seconds_text,
    share_text,
    size_text,
)
from poolsieve.jobs.report.suites import CURVE_EDGE, CURVE_HEIGHT, CURVE_WIDTH, curve_points

if TYPE_CHECKING:
    from jinja2 import Environment

CHARTS = 40
"""Most histograms on the page; `report.json` has all of them."""


CURVE = {"width": CURVE_WIDTH, "height": CURVE_HEIGHT, "edge": CURVE_EDGE}


def write_report(
    out: str,
    summary: Summary,
    *,
    truth: str | os.PathLike[str] | None = None,
    samples: bool = True,
    storage_options: fs.StorageOptions | None = None,
) -> str:
    """Writes `report.json` and `report.html` beside the decision; returns the URL of the HTML.

    What it says comes from the summary and its facts alone; nothing that stands in OUT is run.

    Args:
        out: absolute URL of OUT.
        summary: of the decision, with its facts.
        truth: a Parquet file of uid and matches; the report then states precision and recall.
        samples: show rows of the pool; False keeps their contents out of both files, and reads no pool.
        storage_options: how the pool is reached, where that takes more than its URLs.

    Raises:
        PlanError: for a decision of an older version, which has no facts; for a `truth` that can't be read.
        PoolsieveError: for a summary that can't be.
    """
    data = report_data(out, summary, truth=truth, samples=samples, storage_options=storage_options)
    fs.write_bytes(report_url(out, summary.decision, "json"), report_json(data))
    url = report_url(out, summary.decision, "html")
    # What is no character in UTF-8 (half of a surrogate pair, in a name) must not cost the whole page.
    fs.write_bytes(url, render(data).encode("utf-8", "replace"))
    return url


def render(data: ReportData) -> str:
    """The data as one HTML page that loads nothing. Every value is escaped, in attributes and drawings too."""
    drawn = [(item, chart_of(item, item.marks)) for item in data.histograms[:CHARTS]]
    families = [
        (one, size_chart(one.sizes), chart_of(one.similarity, one.similarity.marks) if one.similarity else None)
        for one in data.duplicates
    ]
    template = environment().get_template("page.html.j2")
    return template.render(data=data, drawn=drawn, families=families, curve=CURVE, logo=_logo())


def environment() -> Environment:
    """Templates in which every value is escaped and harmless, and a name that is not there is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=harmless,
    )
    made.filters.update(rows=rows_text, count=count_text, share=share_text, size=size_text)
    made.filters.update(percent=percent_text, rate=rate_text, cores=cores_text, cost=cost_text)
    made.filters.update(score=score_text, seconds=seconds_text, json=_json, points=curve_points)
    return made


def _logo() -> str:
    """The page's icon: bars through a sieve. Inline, so that a browser asks for no file."""
    bars = "".join(
        f"<rect x='{3 + 5 * i}' y='{16 - h}' width='3' height='{h}' fill='#0f766e'/>" for i, h in enumerate((6, 12, 9))
    )
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 19 19'>{bars}</svg>"
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
