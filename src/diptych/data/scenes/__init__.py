"""Composed pictures with full ground truth: sprites, composition, captions, moving clips. Torch-free, seeded."""
