"""Mask proposers and promptable mask models behind ``core.masks``."""
