"""Systems that name what an image shows."""
