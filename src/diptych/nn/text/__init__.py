"""Language models, decoding, and words as tokens."""
