"""What keeps a loaded model busy: the driver of any scorer, the feed, and the meter on it.

Imports `devices` and `base`.
"""
