"""Benches of audits: what each is shown on, and what is spoiled."""
