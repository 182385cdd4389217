"""What a decision kept, as a predicate over the original pool: training without a copy. Writes nothing into OUT.

May import `dataflow.store` and below.
"""
