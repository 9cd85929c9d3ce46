"""Logits of the patches of photos against class texts, window by window: what plain dense segmenters have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, Run, Samples
from diptych.features.heads import logits
from diptych.features.networks import inference
from diptych.nn.dense.label_maps import Windows, resized, slide


def patch_logits(
    images: Samples[Any],
    backbone: Backbone,
    head: Tensor,
    windows: Windows,
    embeddings: Callable[[Tensor], Tensor],
    run: Run,
) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Yield the (K, h, w) logits of each image at the pixels of the resized image, and the image's own (height, width).

    Args:
        images: photos.
        backbone: its pixels, stride, scale and bias.
        head: (K, D) unit class embeddings.
        windows: how images are resized and cut.
        embeddings: from (B, 3, H, W) normalised pixels to (B, D, h, w) embeddings, not normalised.
        run: device and precision.

    Raises:
        MissingHook: the backbone has no dense maps.
        UnreadableItem: a photo cannot be read.
    """
    stride = backbone.dense().strides[-1]

    def scores(x: Tensor) -> Tensor:
        with inference(run):
            z = embeddings(x.to(run.device))
        unit = normalize(z.float().permute(0, 2, 3, 1), dim=-1)
        return logits(backbone, unit, head.to(unit)).permute(0, 3, 1, 2).cpu()

    for i in range(len(images)):
        image = images[i]
        maps = slide(resized(image, windows.side), windows, backbone.spec.pixels, stride, scores)
        yield maps, (image.height, image.width)
