"""Thin: parse, call tasks, print."""
