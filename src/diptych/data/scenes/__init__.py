"""Composed pictures with full ground truth: sprites, composition, captions, clips of moving objects. Torch-free,
seeded, streaming.
"""
