"""A run in parts: many processes that know nothing of one another score an OUT, and one ends it.

All that is scored has names of its own, so a part is a run of the whole recipe that scores some of the shards.
`numbers` says which parts a process takes (`launchers` ask what started it), `spread` which shards these are, `score`
scores them, `finish` decides once nothing is lacking, `notes` has what they leave in OUT for one another. May import
`dataflow.passes` and below.
"""
