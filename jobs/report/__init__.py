"""The report of a decision: `data` collects every number, the others shape numbers, drawings and samples.

`page.html.j2` shows them.
"""
