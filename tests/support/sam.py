"""The small SAM of ``diptych.testing``."""

from diptych.testing.parts import SAM_SIDE as SIDE
from diptych.testing.parts import small_sam

__all__ = ["SIDE", "small_sam"]
