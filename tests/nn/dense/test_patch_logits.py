"""Logits of patches: by hand where one window holds the image, and the mean over windows where several do."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, normalize

from diptych.core import Run
from diptych.data.pixels import normalise
from diptych.nn.dense.label_maps import Windows, resized
from diptych.nn.dense.patch_logits import patch_logits
from tests.support.dense_colours import DenseColours, halves
from tests.support.pictures import Pictures


def embeddings(x: Tensor) -> Tensor:
    return avg_pool2d(x, 4)


def test_one_window_is_scaled_cosines_of_its_cells() -> None:
    backbone, photo = DenseColours(), halves("red", "blue", 40, 40)
    head = normalize(torch.eye(3)[:2] + 0.1, dim=1)
    ((maps, size),) = patch_logits(Pictures((photo,)), backbone, head, Windows(40, 40, 40), embeddings, Run())
    assert (size, maps.shape[0]) == ((40, 40), 2)
    z = embeddings(normalise(resized(photo, 40), backbone.spec.pixels)[None])[0]
    scale, bias = backbone.scale("image", "text")
    by_hand = scale * torch.einsum("dhw,kd->khw", normalize(z, dim=0), head) + bias
    whole = interpolate(by_hand[None], (40, 40), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(maps.float(), whole.float(), atol=1e-4, rtol=1e-4)
    assert maps.std() > 0.1, "the halves differ"


def test_sizes_are_those_of_the_photos_in_their_order() -> None:
    photos = Pictures((halves("red", "blue", 60, 40), halves("green", "red", 40, 80)))
    head = normalize(torch.eye(3), dim=1)
    sizes = [size for _, size in patch_logits(photos, DenseColours(), head, Windows(40, 32, 16), embeddings, Run())]
    assert sizes == [(40, 60), (80, 40)]
