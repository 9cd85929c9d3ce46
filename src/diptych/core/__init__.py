"""Interfaces only: what every floor above agrees on. Knows nobody; imports no torch at run time."""
