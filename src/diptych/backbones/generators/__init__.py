"""Generators with a style space: a renderer whose factors are known, and StyleGAN2's synthesis network."""
