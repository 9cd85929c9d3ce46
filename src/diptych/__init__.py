"""diptych: one core for the systems of the CLIP era.

Importing this package loads no torch, touches no network, seeds nothing and registers nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "load", "load_classifier"]

if TYPE_CHECKING:
    from pathlib import Path

    from diptych.core.backbone import Backbone
    from diptych.tasks.model import Model


def load(name: str = "lite", **options: object) -> Backbone:
    """Load a backbone by name; see ``diptych.backbones.sources.load.load`` for names and options."""
    from diptych.backbones.sources.load import load as load_backbone

    return load_backbone(name, **options)  # type: ignore[arg-type]


def load_classifier(folder: str | Path, backbone: Backbone | None = None) -> Model:
    """Load a classifier that ``diptych board classify --export`` wrote; see ``diptych.tasks.model.load``."""
    from diptych.tasks.model import load as load_model

    return load_model(folder, backbone)
