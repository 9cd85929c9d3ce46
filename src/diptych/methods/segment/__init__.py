"""Segmenters: from class names to what lies where on an image."""
