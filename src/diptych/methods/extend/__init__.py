"""Systems that take new kinds of samples into a space: clips, light curves, spectra."""
