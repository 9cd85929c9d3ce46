"""Embeddings as files: of photos, texts and regions, by one process or by many."""
