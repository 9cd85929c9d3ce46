"""Generators with a style space: a renderer with known factors, and StyleGAN2's synthesis network."""
