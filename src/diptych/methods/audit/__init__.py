"""Systems that say what is wrong with a model, or with pairs of image and text."""
