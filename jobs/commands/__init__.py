"""The commands, one file each: options and what is done with them. Heavy imports stand inside the functions."""
