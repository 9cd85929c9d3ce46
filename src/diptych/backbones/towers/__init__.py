"""Transformers cut in stem, blocks and head: one file per block family, so that no method re-assembles a block."""
