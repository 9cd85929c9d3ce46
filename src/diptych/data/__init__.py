"""Samples with a content key: folders, tables, texts, splits, class names, templates, words. Torch-free."""
