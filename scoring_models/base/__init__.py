"""What every scorer is made of: errors, configurations, the scorer's protocol, the driver that runs one over a batch.

Imports nothing else of poolsieve.
"""
