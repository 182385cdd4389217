"""What every scorer is made of: errors, configurations, packages, the scorer's protocol, the driver over a batch.

Imports nothing else of poolsieve.
"""
