"""A server: one process that answers words and pictures over HTTP, in the forms that existing clients speak."""
