"""What every scorer is made of: errors, Arrow, configurations, packages, the scorer's protocol.

Imports nothing else of poolsieve.
"""
