"""Benches of trainings: data, towers, what is measured and what is spoiled."""
