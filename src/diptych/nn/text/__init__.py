"""Language models, decoding and word spans."""
