"""An early layer of an image encoder, in which pictures are compared by their local look, not by their meaning."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate, normalize

from diptych.core import Backbone, MissingHook


def early(backbone: Backbone, pictures: Tensor) -> Tensor:
    """Return the first block of the image tower, or the finest map of a convolutional encoder, of (B, 3, H, W) pictures
    in [0, 1]. Gradients pass.

    Returns:
        (B, n, C) of n tokens or cells.

    Raises:
        MissingHook: it has neither a tower nor maps.
    """
    side = backbone.image.size or 224
    square = interpolate(pictures, size=(side, side), mode="bilinear", antialias=True)
    inputs = backbone.image.inputs(list(square))
    x = inputs if isinstance(inputs, Tensor) else inputs["pixels"]
    try:
        tower = backbone.tower("image")
    except MissingHook:
        return backbone.dense().maps(x)[0].flatten(2).transpose(1, 2)
    return tower.blocks(tower.start(x), 0, 1).h


def unlike(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far (B, n, C) layers of two batches of pictures differ, here and there and as a whole, (B,) each.

    The first is the mean over n of the squared distance of unit vectors, in [0, 4], as LPIPS measures without its
    learnt weights. The second is 1 - the cosine of the means over n, in [0, 2].

    Source: Zhang et al. 2018 (LPIPS), equation 1.
    """
    local = (normalize(first, dim=-1) - normalize(second, dim=-1)).square().sum(-1).mean(1)
    return local, 1 - cosine_similarity(first.mean(1), second.mean(1), dim=-1)
