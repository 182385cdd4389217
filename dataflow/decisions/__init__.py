"""Where a row's fate is decided: exact cuts from histograms, the ledger of a shard, the sums of a decision.

May import `dataflow.store` and below.
"""
