"""Exports of towers and the gate that they pass."""
