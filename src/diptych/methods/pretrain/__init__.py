"""Systems that train a CLIP, and the plain losses that they are compared with."""
