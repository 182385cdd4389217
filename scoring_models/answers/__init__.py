"""Answers of models to the items of a benchmark, as somebody has stored them: tables, and the logs of evaluation tools.

May import `scoring_models.marking` and `base`.
"""
