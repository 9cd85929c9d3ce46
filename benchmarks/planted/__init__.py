"""Planted faults: models with one known bias each, and whether the audits find that bias and no other.

python -m benchmarks.planted [--backbone oracle|tiny|lite] [--out results/faults/oracle.json] [--overwrite]
"""
