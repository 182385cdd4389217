"""Jobs that make artefacts before the first pass.

`kinds` says what a kind of artefact is, `sums`, `repeats` and `lines` are those that there are, and `making` makes any
of them: a new kind is one file with a line in `KINDS` of `making`.
"""
