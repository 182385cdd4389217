"""The language of recipes: expressions, stages, edits, statistics, cuts. No rule of anybody's stands here.

May import `scoring_models`.
"""
