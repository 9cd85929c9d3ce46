"""The systems, one file each, in folders named for what the user wants to do."""
