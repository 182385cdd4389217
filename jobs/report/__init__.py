"""The report of a decision: `data` collects what it says, `page` writes it as `report.json` and `report.html`.

What it says, in the order of the page: `truth`, `funnel`, `cuts`, `histograms` (whose `bars` are counted together and
drawn by `charts`), `samples` (with `thumbnails`), `throughput`. `numbers` spells figures for people; `notebook` shows
the funnel alone. May import everything below; nothing here needs Beam.
"""
