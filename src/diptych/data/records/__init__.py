"""Samples of several parts: clips, records, and where their files lie."""
