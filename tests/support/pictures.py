"""The seeded pictures of ``diptych.testing``."""

from diptych.testing.pictures import FEATURES, NAMES, Pictures, picture, table, task, texts

__all__ = ["FEATURES", "NAMES", "Pictures", "picture", "table", "task", "texts"]
