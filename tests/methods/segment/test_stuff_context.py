from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import norm
from torch.nn import functional as F

from diptych.core import Backbone, ClassNames, Evidence, Kit, Run
from diptych.data.words import stuff_looks
from diptych.features.heads import text_head
from diptych.methods.segment.stuff_context import FittedStuffContext, StuffContext, blended, in_context
from diptych.nn.dense.cell_looks import cell_looks
from diptych.nn.dense.label_maps import dense_map
from diptych.nn.dense.patches import embed_patches
from diptych.nn.dense.photo_colours import photo_colours
from tests.support.dense_colours import DenseColours
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.small_clip import small_clip

NAMES = ClassNames(("sky", "dog", "red barn"), ("a photo of a {}.",))
PHOTO = Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def fit(backbone: Backbone, **settings: Any) -> FittedStuffContext:
    return StuffContext(**{"sides": (32, 64), **settings}).fit(Kit({"main": backbone}), NAMES, Evidence(), Run())


@torch.no_grad()
def test_equals_its_formula_in_numpy(vit: Backbone) -> None:
    """Both sizes are multiples of the stride, so that no photo is resized to fit the grid."""
    fitted = fit(vit, affinity=3.0, colours=0.0)
    photos = [torch.rand(3, side, side + 32, generator=torch.Generator().manual_seed(side)) for side in (64, 32)]
    recipe = vit.spec.pixels
    head = text_head(vit, in_context(NAMES), Run())
    scale = float(vit.scale()[0])
    stride = vit.dense().strides[-1]
    grids = []
    for photo in photos:
        x = (photo - torch.tensor(recipe.mean)[:, None, None]) / torch.tensor(recipe.std)[:, None, None]
        z = embed_patches(vit, x[None])[0].double().numpy()
        assert z.shape[1:] == (photo.shape[1] // stride, photo.shape[2] // stride)
        grids.append(z / np.linalg.norm(z, axis=0))
    h, w = grids[0].shape[1:]
    maps = [scale * np.einsum("dhw,kd->khw", z, head.double().numpy()) for z in grids]
    small = F.interpolate(torch.from_numpy(maps[1])[None], (h, w), mode="bilinear")[0].numpy()
    mean = ((maps[0] + small) / 2).reshape(3, -1)
    unit = grids[0].reshape(len(grids[0]), -1)
    near = np.exp(3.0 * unit.T @ unit)
    expected = (near / near.sum(1, keepdims=True) @ mean.T).T.reshape(3, h, w)
    features = cell_looks(photos[0], (h, w)).double().numpy()

    def density(look: Any) -> Any:
        return np.prod([norm(*look[i]).pdf(features[i]) for i in range(5)], axis=0)

    blue, white = stuff_looks.LOOKS["air"]
    expected[0] += 2.5 * np.clip(np.log((density(blue) + density(white)) / density(stuff_looks.PHOTO)), -4, 4)
    np.testing.assert_allclose(fitted.maps(photos, Run()).numpy(), expected, rtol=1e-3, atol=1e-3)
    coloured = photo_colours(torch.from_numpy(expected).float(), torch.from_numpy(features[:3]).float(), 1.0)
    torch.testing.assert_close(fit(vit, affinity=3.0).maps(photos, Run()), coloured, rtol=1e-3, atol=1e-3)


def test_cells_are_blended_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.nn.functional.normalize(torch.randn(11, 5, dtype=torch.float64), dim=-1)
    scores = torch.randn(11, 3, dtype=torch.float64)
    whole = (7.0 * z @ z.T).softmax(-1) @ scores
    for numbers in (1, 33, 10_000):
        monkeypatch.setattr("diptych.methods.segment.stuff_context.BLOCK", numbers)
        torch.testing.assert_close(blended(z, scores, 7.0), whole)


def test_only_words_for_stuff_get_other_vectors(vit: Backbone) -> None:
    with_phrases, plain = fit(vit).head, fit(vit, contexts=False).head
    assert not torch.allclose(with_phrases[0], plain[0], atol=1e-3)
    torch.testing.assert_close(with_phrases[1:], plain[1:])


def test_a_class_of_several_words_takes_the_phrases_of_each() -> None:
    prompts = in_context(ClassNames(("lake",), ("a {}",), words=(("lake", "dog"),)))
    assert prompts == [
        ["something in the lake", "an animal in the lake", "a boat on the lake", "a fish in the lake", "a dog"]
    ]


def test_a_sharp_affinity_leaves_cells_alone_and_a_flat_one_makes_them_equal() -> None:
    z = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    scores = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(blended(z, scores, 1e4), scores)
    torch.testing.assert_close(blended(z, scores, 1e-6), scores.mean(0).expand(5, 3), rtol=1e-4, atol=1e-4)


def test_without_affinity_the_mean_of_the_sizes_is_the_map(vit: Backbone) -> None:
    photos = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))]
    alone = fit(vit, affinity=0.0, colours=0.0, sides=(64,)).maps(photos, Run())
    torch.testing.assert_close(fit(vit, affinity=1e4, colours=0.0, sides=(64,)).maps(photos, Run()), alone)


def test_looks_are_added_to_stuff_alone_and_not_without_a_weight(vit: Backbone) -> None:
    photos = [torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))]
    words, both = (fit(vit, appearance=w, colours=0.0, sides=(64,)).maps(photos, Run()) for w in (0.0, 1.0))
    assert not torch.allclose(words[0], both[0], atol=1e-2)
    torch.testing.assert_close(words[1:], both[1:])
    assert (both - words).abs().max() <= 4
    fitted = fit(vit, appearance=3.0, colours=0.0, sides=(64,))
    torch.testing.assert_close(fitted.maps(photos, Run())[0] - words[0], 3 * (both - words)[0], atol=1e-4, rtol=1e-4)


def test_a_blue_cell_above_is_sky_and_a_brown_one_below_is_not(vit: Backbone) -> None:
    photo = torch.tensor([0.45, 0.65, 0.95])[:, None, None].repeat(1, 64, 64)
    photo[:, 32:] = torch.tensor([0.45, 0.30, 0.15])[:, None, None]
    odds = fit(vit).seen(cell_looks(photo, (2, 1)))[0, :, 0]
    assert odds[0] > 2
    assert odds[1] == -4


def test_a_photo_without_colour_is_judged_by_the_rest(vit: Backbone) -> None:
    grass = replace(NAMES, names=("grass", "dog", "red barn"))
    fitted = StuffContext(sides=(64,)).fit(Kit({"main": vit}), grass, Evidence(), Run())
    grey, tinted = torch.full((3, 64, 64), 0.45), torch.full((3, 64, 64), 0.45)
    tinted[0] += 0.1
    at = [fitted.seen(cell_looks(pixels, (2, 1)))[0, 1, 0] for pixels in (grey, tinted)]
    assert at[0] > 0 > at[1]


def test_cells_of_a_map_without_a_tower_are_segmented() -> None:
    (regions,) = fit(DenseColours()).regions(Pictures((PHOTO,)), Run())
    assert dense_map(regions).shape[0] == 3
    assert regions.size == (48, 64)
    assert torch.isfinite(dense_map(regions)).all()


def test_wrong_parameters_are_refused() -> None:
    refused(
        StuffContext, {"affinity": -0.1}, {"appearance": -1.0}, {"colours": -0.1}, {"sides": ()}, {"sides": (224, 0)}
    )
