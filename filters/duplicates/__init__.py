"""Duplicates: sketches of texts and images, and clusters of rows from their sketches; arrays in and arrays out.

`characters` and `shingles` take a text apart, `sketch` makes 256 bytes of it, `pictures` two hashes of an image.
`bands` finds candidates among sketches, `components` joins them by `roots`, `edges` verifies and caps, `leaders` says
who stays, `runs` finds equal neighbours, and `clusters` is all of that for rows that are in memory; `others` finds the
nearest row of another corpus, `meetings` the records of rows that meet by rounds. `alike` does it with any measure:
`lookalikes` with pictures, whose near hashes `hamming` finds, `meanings` with embeddings, which `vectors` makes whole
numbers of and `cells` sorts. May import `filters.words` and `scoring_models`; `filters/sketches.py` has the scorers.
"""
