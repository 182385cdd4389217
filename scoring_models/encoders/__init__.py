"""Encoders that classify texts: windows of tokens, a fixed list of shapes, engines; Celadon and any classifier.

May import `scoring_models.base`.
"""
