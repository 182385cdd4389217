"""What users run: the command line, the report, training. May import everything below."""
