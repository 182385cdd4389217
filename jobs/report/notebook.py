"""The funnel of a run as a small table, for notebooks."""

from __future__ import annotations

from poolsieve.dataflow.store.out import OutFolder
from poolsieve.jobs.report.page import environment


def funnel_html(out: OutFolder) -> str:
    """The funnel as an HTML table that loads nothing, every name escaped."""
    lines, total = out.summary.funnel, max(out.counts.rows_in, 1)
    return environment().get_template("funnel.html.j2").render(out=out, lines=lines, total=total)
