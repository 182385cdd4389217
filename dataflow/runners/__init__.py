"""Where pipelines run: one module a runner, registered in `engine`; worker processes; a job that is watched.

May import `dataflow.fs`, `dataflow.progress` and the floors below; knows no pool and no recipe.
"""
