"""The funnel of a run as a small table, for notebooks."""

from __future__ import annotations

from poolsieve.dataflow.store.out import OutFolder
from poolsieve.jobs.report.numbers import harmless, rows_text, share

_TABLE = """\
<table>
<caption>{{ out.counts.kept | rows }} of {{ out.counts.rows_in | rows }} rows kept ({{ out.decision }})</caption>
<thead><tr><th>step<th>rows in<th>rows out<th>left of the pool</thead>
<tbody>
{% for line in lines %}
<tr><td>{{ line.step }}<td>{{ line.rows_in | rows }}<td>{{ line.out | rows }}<td>{{ (line.out / total) | share }}
{% endfor %}
</tbody>
</table>
"""


def funnel_html(out: OutFolder) -> str:
    """The funnel as HTML, every name escaped."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, finalize=harmless, trim_blocks=True)
    environment.filters.update(rows=rows_text, share=share)
    total = max(out.counts.rows_in, 1)
    return environment.from_string(_TABLE).render(out=out, lines=out.summary.funnel, total=total)
