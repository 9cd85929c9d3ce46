"""Systems that change pictures by words."""
