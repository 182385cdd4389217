"""Panels: models that answer items, with the image and without it, in process or behind an endpoint.

May import every other room of `scoring_models`.
"""
