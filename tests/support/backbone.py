"""The small backbone of ``diptych.testing``."""

from diptych.testing.backbones import DIM, ImageEncoder, SmallBackbone, TextEncoder

__all__ = ["DIM", "ImageEncoder", "SmallBackbone", "TextEncoder"]
