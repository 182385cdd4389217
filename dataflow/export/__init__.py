"""The kept rows on their way out: which rows, cut into which files, written to which folder. Names no format.

May import `dataflow.passes` and below.
"""
