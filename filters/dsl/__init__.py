"""The language of recipes: expressions, stages, edits, statistics, cuts, and the mark of ready-made stages.

No rule of anybody's stands here. May import `scoring_models`.
"""
