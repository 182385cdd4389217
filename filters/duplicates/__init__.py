"""Duplicates: sketches of texts and images, and clusters of rows from their sketches; arrays in and arrays out.

`characters` and `shingles` take a text apart, `sketch` makes 256 bytes of it. May import `filters.dsl`,
`filters.words` and `scoring_models`; `filters/sketches.py` has the scorers.
"""
