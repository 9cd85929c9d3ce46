"""Systems that train a CLIP, and the plain objectives that they are compared with."""
