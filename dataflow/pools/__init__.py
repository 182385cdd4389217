"""The pool as files: shards, listings, formats, casts.

`listing` finds the files, a *format* reads rows from them as batches, `casts` makes roles of values, and `files` holds
it all together for one pool. May import `dataflow.fs` and the floors below.
"""
