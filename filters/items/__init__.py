"""What rules over the items of a benchmark are made of: guessing, flags, and how well an item tells models apart.

May import `filters.dsl`.
"""
