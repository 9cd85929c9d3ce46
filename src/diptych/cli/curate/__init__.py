"""``diptych curate``: its commands and their options."""
