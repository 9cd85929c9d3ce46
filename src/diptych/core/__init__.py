"""The interfaces that all other packages share. Imports no other package of diptych, and no torch at run time."""
