"""CLIP in open_clip's and transformers' layouts: where its files are, how its weights are read, how it scores pairs.

May import `scoring_models.base`.
"""
