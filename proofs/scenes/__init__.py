"""Scenes that proofs alone draw."""
