"""Axes of an audit: arrays in, findings out. What was measured becomes a finding here, with interval and control."""
