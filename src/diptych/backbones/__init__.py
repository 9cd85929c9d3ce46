"""Implementations of core.backbone."""
