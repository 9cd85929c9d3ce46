"""Protocols: what a verb does, with splits, choices on val, intervals and records."""
