"""Networks of the spaces of clips, clouds and light curves."""
