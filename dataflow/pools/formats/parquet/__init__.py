"""Parquet: row groups as batches, row groups and whole files copied, rows of any pool written."""
