"""A run from its plan to its end.

`submit` checks and starts it, `pipeline` is the job as Beam sees it, `scoring` what is done to one shard, `estimate`
what a plan says of it. May import `dataflow.decisions` and below.
"""
