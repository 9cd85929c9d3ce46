"""The search index: rows, exact and approximate neighbours, filters."""
