"""Recipes: written as Python or YAML, compiled to steps, walked over rows.

`source` reads a recipe file, `recipe` is what it defines, `compile` settles every name in it, `program` is the result,
`schedule` says which step runs in which pass, `derived` makes edited roles, `walk` takes rows through the steps.
May import `dataflow.pools` and below.
"""
