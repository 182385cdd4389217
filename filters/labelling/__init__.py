"""Wrong labels: what is computed over all labelled rows of a pool at once, arrays in and arrays out.

`items` puts rows into one order and their lists into a matrix, `confident` and `folds` are confident learning,
`nearest`, `consensus` and `simifeat` are SimiFeat. May import `filters.dsl` and `scoring_models`; `filters/labels.py`
has the stages.
"""
