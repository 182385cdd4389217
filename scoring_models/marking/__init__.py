"""Marks: how right an answer is, from 0 to 1. Pure functions of texts, one for each way of marking.

May import `scoring_models.base`.
"""
