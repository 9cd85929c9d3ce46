"""The small backbone of ``diptych.testing`` with both towers."""

from diptych.testing.backbones import VIT_SIDE as SIDE
from diptych.testing.backbones import VisualBackbone, ViTImage

__all__ = ["SIDE", "ViTImage", "VisualBackbone"]
