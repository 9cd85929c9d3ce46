"""New kinds of sample in a space: clips, clouds, light curves."""
