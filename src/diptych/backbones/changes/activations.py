"""Another activation in each tower, for models whose towers differ, which open_clip's configuration cannot say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from diptych.backbones.towers.of import tower_of
from diptych.core import MissingHook, Spec, UsageError


def stated(module: nn.Module, spec: Spec, *, image: str, text: str) -> Spec:
    """Give the MLPs of each tower an activation. Modified in place.

    Args:
        module: open_clip's CLIP or CustomTextCLIP, whose two towers are transformers of its own.
        spec: what it is.
        image: "gelu" or "quick_gelu", in the image tower.
        text: the same, in the text tower.

    Returns:
        The spec with both activations, "gelu+quick_gelu".

    Raises:
        MissingHook: a tower cannot be cut, or its MLPs are no open_clip ones.
        UsageError: another activation.
    """
    from open_clip.transformer import QuickGELU

    kinds = {"gelu": nn.GELU, "quick_gelu": QuickGELU}
    for modality, name in (("image", image), ("text", text)):
        if name not in kinds:
            raise UsageError(f"The activation of the {modality} tower is 'gelu' or 'quick_gelu', not {name!r}.")
        tower: Any = tower_of(module, modality, spec)  # every tower of ours is cut into layers
        for layer in tower.layers:
            mlp: Any = getattr(layer.module, "mlp", None)
            if not isinstance(getattr(mlp, "gelu", None), nn.Module):
                raise MissingHook(f"The {modality} tower of {spec.name} has no activation that can be replaced.")
            mlp.gelu = kinds[name]()
    return replace(spec, activation=f"{image}+{text}")
