"""Losses of causal language models: one model's, the difference of two, and those that others have stored.

May import `scoring_models.feeding` and what is below it.
"""
