"""Systems that describe an image in a sentence."""
