"""Metrics with a stated convention and direction."""
