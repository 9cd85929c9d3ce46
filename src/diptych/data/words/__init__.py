"""Class names, templates, contexts, WordNet and files of text."""
