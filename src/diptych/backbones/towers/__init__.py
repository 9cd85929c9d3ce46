"""Transformers cut in stem, blocks and head: one file a block family, so that no method re-assembles a block."""
