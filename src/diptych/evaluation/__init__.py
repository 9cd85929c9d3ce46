"""Measuring: boards of every verb, the few-shot protocol and their pages."""
