"""Script-free HTML pages of results."""
