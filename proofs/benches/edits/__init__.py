"""Benches of editors: what is asked for, and how the answers are read."""
