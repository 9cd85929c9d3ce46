"""diptych: one core for the systems of the CLIP era.

Importing this package loads no torch, touches no network, seeds nothing and registers nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from diptych.core.backbone import Backbone


def load(name: str = "lite", **options: object) -> Backbone:
    """Load a backbone by name; see ``diptych.backbones.load.load`` for names and options."""
    from diptych.backbones.load import load as load_backbone

    return load_backbone(name, **options)  # type: ignore[arg-type]
