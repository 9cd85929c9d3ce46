"""Denoisers that are conditioned on texts: a small one that ships, and pipelines of diffusers."""
