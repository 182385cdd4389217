"""OUT: everything that is kept there, where it stands and how it is read again.

`layout` has every path; `rows`, `scores` and `settings` what a pass commits; `fingerprints` and `artefacts` what it is
looked up by; `job` what travels to a worker; `manifest` the truth of a run. May import `dataflow.recipes` and below.
"""
