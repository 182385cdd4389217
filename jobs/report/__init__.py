"""The report of a decision: `data` collects what it says, `page` writes it as `report.json` and `report.html`.

Its input is a `Summary` with its facts: no job, no recipe. Both may be anybody's, so they are data: checked, escaped.

What it says, in the order of the page: `truth`, `funnel`, `cuts`, `histograms` (whose `bars` are counted together and
drawn by `charts`), `samples` (with `thumbnails`), `throughput` (with `models`). `numbers` spells figures for people;
`notebook` shows the funnel alone. May import everything below; nothing here needs Beam.
"""
