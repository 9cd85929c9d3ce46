"""FC-CLIP's and MAFT+'s photos, padded to whole cells, against the authors' inference written once more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Backbone, ClassNames, Run
from diptych.methods.segment.fc_clip import FCCLIP, FittedFCCLIP
from diptych.nn.dense.mask_classes import as_pixels, unpadded
from diptych.nn.dense.mask_queries import MaskLayout, MaskQueries, four_maps, map_channels
from diptych.nn.dense.mask_training import words_of
from tests.support.checkpoints import gap
from tests.support.small_clip import small_clip

NAMES = ClassNames(("cat", "red barn"))


@pytest.fixture(scope="module")
def conv(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "convnext", "convnext")


def photo(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def fitted(conv: Backbone, **given: Any) -> FittedFCCLIP:
    method = FCCLIP(side=72, longest=100, layout=MaskLayout(width=64, queries=4, encoder=1, decoder=1), **given)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        net = MaskQueries(map_channels(conv), conv.text.dim, method.layout)
        for p in net.parameters():
            p.data.add_(0.05 * torch.randn(p.shape))
        for name, p in net.named_parameters():
            if "mask_embedder.2." in name:
                p.data.neg_()  # so that masks are not empty
    words = words_of(conv, NAMES, Run())
    return FittedFCCLIP(NAMES, conv, words, NAMES, (True, True), net.state_dict(), method)


def written(segmenter: FittedFCCLIP, image: Image.Image, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the masks over the photo, (Q, K) trained probabilities and (Q, D) pooled embeddings.

    Args:
        size: height and width to which the shorter side is brought.
    """
    conv = segmenter.backbone
    small = np.array(image.resize((size[1], size[0]), Image.Resampling.BILINEAR)).astype(np.float32)
    mean, std = (255 * torch.tensor(v)[:, None, None] for v in (conv.spec.pixels.mean, conv.spec.pixels.std))
    x = (torch.from_numpy(small).permute(2, 0, 1) - mean) / std
    whole = [(length + 31) // 32 * 32 for length in size]
    canvas = torch.zeros(1, 3, *whole)
    canvas[0, :, : size[0], : size[1]] = x
    dense, net = conv.dense(), segmenter._network
    with torch.no_grad():
        maps = dense.maps(canvas)
        layer = net(four_maps(dense, maps))[-1]
        last = maps[-1]
        inside = (F.interpolate(layer.masks, last.shape[2:], mode="bilinear") > 0).float()[0]
        sums = torch.einsum("qhw,chw->qc", inside, last[0]) / (inside.sum((1, 2))[:, None] + 1e-8)
        visual: Any = conv.module().visual
        pooled = visual.head(visual.trunk.head(sums[:, :, None, None]))
        logits = F.interpolate(layer.masks, whole, mode="bilinear", align_corners=False)
        logits = logits[:, :, : size[0], : size[1]]
        logits = F.interpolate(logits, (image.height, image.width), mode="bilinear", align_corners=False)
        words = segmenter.words
        trained = net.logits(layer.vectors, words.vectors, words.owner)[0].softmax(-1)
    return logits[0].sigmoid(), trained, F.normalize(pooled, dim=-1).detach()


@pytest.mark.parametrize(("sides", "size"), [((60, 50), (72, 86)), ((90, 40), (44, 100))])
def test_padded_as_the_authors_do(conv: Backbone, sides: tuple[int, int], size: tuple[int, int]) -> None:
    segmenter, image = fitted(conv, pads=True), photo(*sides)
    with torch.no_grad():
        got = segmenter._pass(segmenter._network, image, Run())
    masks, trained, _ = written(segmenter, image, size)
    assert got.masks.shape == (4, image.height, image.width)
    assert gap(got.masks.sigmoid(), masks) <= 1e-5
    assert gap(got.void, trained[:, -1]) <= 1e-5
    regions = segmenter.mixed(got)
    assert regions.grid == regions.size == (image.height, image.width)


def test_the_frozen_classifier_sees_the_padding(conv: Backbone) -> None:
    segmenter, image = fitted(conv, pads=True, alpha=1.0), photo(60, 50)
    with torch.no_grad():
        got = segmenter._pass(segmenter._network, image, Run())
    _, _, pooled = written(segmenter, image, (72, 86))
    assert got.held.any()
    expected = (conv.scale()[0].detach() * pooled @ segmenter.words.vectors.T).softmax(-1)
    words = torch.stack([expected[:, segmenter.words.owner == k].amax(1) for k in (0, 1)], 1)
    assert gap(got.outside[got.held], (words / words.sum(1, keepdim=True))[got.held]) <= 1e-5


def test_crops_are_of_the_photo_and_not_of_its_padding(conv: Backbone) -> None:
    segmenter, image = fitted(conv, pads=True, classify="crops"), photo(60, 50)
    with torch.no_grad():
        got = segmenter._pass(segmenter._network, image, Run())
    assert got.masks.shape == (4, 50, 60)
    assert got.outside.shape == (4, 2)


def test_of_a_large_photo_masks_have_the_size_that_was_seen(conv: Backbone) -> None:
    segmenter = fitted(conv, pads=True)
    with torch.no_grad():
        got = segmenter._pass(segmenter._network, photo(400, 320), Run())
    assert (got.size, got.masks.shape) == ((320, 400), (4, 72, 90))
    assert unpadded(torch.zeros(1, 4, 4), (16, 16), (10, 12), (5, 6)).shape == (1, 5, 6)


def test_by_default_sides_become_whole_cells(conv: Backbone) -> None:
    x, pixels = as_pixels(photo(60, 50), FCCLIP(side=72), 32, conv.spec.pixels, "cpu")
    assert (x.shape, pixels.shape) == ((3, 64, 96), (1, 3, 64, 96))
