"""Shared maths and storage, one topic a file."""
