"""The small denoiser of ``diptych.testing``."""

from diptych.testing.parts import random_diffusion

__all__ = ["random_diffusion"]
