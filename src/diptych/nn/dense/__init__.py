"""Maps of patches and masks: teachers, losses, label maps."""
