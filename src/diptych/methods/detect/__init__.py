"""Anomalies and spoofs: which photos are not as they should be, and where."""
