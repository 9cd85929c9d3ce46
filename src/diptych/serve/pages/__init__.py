"""The page for people: search, marks and exports, rendered on the server."""
