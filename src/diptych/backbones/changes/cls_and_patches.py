"""The CLS token plus the mean of the patches as the vector of an image, for models whose patches learnt something."""

from __future__ import annotations

from typing import Any

from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from diptych.core import MissingHook, Spec

KIND = "tok+avg"
"""What open_clip's attribute ``pool_type`` says of it."""


class CLSAndPatches(VisionTransformer):  # type: ignore[misc]  # the library has no types
    """open_clip's image tower with another pooling, of the normed tokens h:

    v = h_CLS + mean over patches p of h_p
    """

    def _global_pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, 0] + x[:, 1:].mean(dim=1), x[:, 1:]


def pooled(module: nn.Module, spec: Spec) -> Spec:
    """Let the image tower of an open_clip CLIP or CustomTextCLIP, a VisionTransformer that pools by CLS after its last
    norm, pool by ``CLSAndPatches``. Modified in place; no weight is new.

    Returns:
        The spec as it is.

    Raises:
        MissingHook: the image tower is no such tower.
    """
    visual: Any = getattr(module, "visual", None)
    plain = type(visual) is VisionTransformer and visual.pool_type == "tok" and visual.attn_pool is None
    if not plain or visual.final_ln_after_pool:
        raise MissingHook(
            f"The image tower of {spec.name} has no CLS token to which patches could be added: use an open_clip ViT "
            f"that pools by CLS, or leave the pooling as it is."
        )
    visual.__class__, visual.pool_type = CLSAndPatches, KIND
    return spec
