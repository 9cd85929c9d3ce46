"""Measuring: boards of every verb, the few-shot protocol, proofs, ablations and their pages."""
