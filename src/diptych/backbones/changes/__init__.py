"""Changes of an architecture after it was loaded, such as a longer position table: one file each, applied by name."""
