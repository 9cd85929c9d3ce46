"""Systems that edit pictures by words."""
