"""Where a row's fate is decided: exact cuts from histograms, the ledger of a shard, the sums of a decision.

`facts` notes what a report says of the recipe, so that no report has to run one.

May import `dataflow.store` and below.
"""
