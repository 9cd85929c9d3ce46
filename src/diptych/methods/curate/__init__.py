"""Systems that decide which pairs of image and text are worth training on."""
