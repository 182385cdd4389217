"""poolsieve."""
