"""Systems that write what is on an image."""
