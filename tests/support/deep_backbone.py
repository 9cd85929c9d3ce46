"""The small backbone of ``diptych.testing`` with a text tower."""

from diptych.testing.backbones import CONTEXT, END, WORDS, DeepBackbone, TowerText, word_id

__all__ = ["CONTEXT", "END", "WORDS", "DeepBackbone", "TowerText", "word_id"]
