from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from diptych.core import ClassNames, Evidence, Kit, MissingHook, Run, Table, UsageError
from diptych.methods.detect.patch_memory import (
    FittedPatchMemory,
    PatchMemory,
    cosine_distance,
    foreground_of,
    tail_mean,
    turned,
)
from tests.support.backbone import SmallBackbone
from tests.support.dense_colours import ColourDense, DenseColours
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.scratches import scratched


def fit(method: PatchMemory, seed: int = 0, normal: int = 6) -> FittedPatchMemory:
    return method.fit(Kit({"main": DenseColours()}), Evidence(train=scratched(normal, 0, seed=1)), Run(seed=seed))


def test_the_distance_equals_scikit_learn() -> None:
    from sklearn.neighbors import NearestNeighbors

    g = torch.Generator().manual_seed(0)
    z, memory = (F.normalize(torch.randn(n, 7, generator=g), dim=1) for n in (5000, 50))
    theirs = NearestNeighbors(n_neighbors=1, metric="cosine").fit(memory.numpy()).kneighbors(z.numpy())[0][:, 0]
    np.testing.assert_allclose(cosine_distance(z, memory).numpy(), theirs, atol=1e-6)


def test_the_score_is_the_mean_of_the_tail() -> None:
    values = torch.arange(200.0).reshape(10, 20)
    assert tail_mean(values, 0.01) == np.sort(values.numpy().ravel())[-2:].mean()
    assert tail_mean(values, 0.001) == 199.0  # at least one
    assert tail_mean(values, 1.0) == pytest.approx(values.mean().item())


def test_scratches_are_found_where_they_are() -> None:
    table = scratched(3, 3, seed=5)
    found = list(fit(PatchMemory(side=40)).detect(table.items, Run()))
    assert max(a.score for a in found[:3]) < min(a.score for a in found[3:])
    for a, mask in list(zip(found, table.columns["mask"].values, strict=True))[3:]:
        assert a.map is not None
        values = F.interpolate(a.map[None, None], mask.shape, mode="bilinear")[0, 0].numpy()
        assert values[mask].mean() > 5 * values[~mask].mean()


def test_the_memory_of_the_control_is_another_thing() -> None:
    from proofs.detect import TRIALS, another_object, open_bench

    classes, normal, other = ClassNames(("plate",)), scratched(6, 0, seed=1), scratched(4, 3, seed=2)
    _, spoiled = another_object(classes, Evidence(train=normal, auxiliary=other), Run())
    assert spoiled.train is not None
    keys = [spoiled.train.items.key(i) for i in range(len(spoiled.train))]
    assert keys == [other.items.key(i) for i in np.flatnonzero(other.labels() == 0)]
    memory = PatchMemory(side=40).fit(Kit({"main": DenseColours()}), spoiled, Run()).memory
    own = PatchMemory(side=40).fit(Kit({"main": DenseColours()}), Evidence(train=normal), Run()).memory
    assert len(memory) == len(own) * 4 // 6
    assert not torch.equal(memory[:100], own[:100])
    with pytest.raises(UsageError, match="another thing"):
        another_object(classes, Evidence(train=normal), Run())
    bench = TRIALS["patch-memory"].bench
    assert (bench.func, bench.keywords) == (open_bench, {"auxiliary": True})  # type: ignore[union-attr]


class Edges(DenseColours):
    """Cells of colours, and of how these change to the right and down, which a turn exchanges."""

    def dense(self) -> EdgeDense:  # type: ignore[override]
        return EdgeDense()


class EdgeDense(ColourDense):
    def maps(self, x: torch.Tensor, /) -> list[torch.Tensor]:
        right, down = (F.pad(x.diff(dim=d), p) for d, p in ((3, (0, 1, 0, 0)), (2, (0, 0, 0, 1))))
        return [F.avg_pool2d(torch.cat([x, right.abs(), down.abs()], dim=1), 4)]


def test_a_turned_photo_is_known_where_turns_are_remembered() -> None:
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[:, ::2] = 255
    upright = Image.fromarray(stripes)
    kit, evidence = Kit({"main": Edges()}), Evidence(train=Table(Pictures([upright])))
    scores = {
        turns: [a.score for a in PatchMemory(turns=turns, side=40).fit(kit, evidence, Run()).detect(photos, Run())]
        for turns in (1, 2, 4)
        for photos in [Pictures([upright, upright.rotate(90)])]
    }
    assert max(scores[4]) < 0.01 < min(scores[1][1], scores[2][1])  # half a turn leaves stripes as they were
    assert scores[1][0] < 1e-6


def test_eight_turns_are_those_of_pillow() -> None:
    g = torch.Generator().manual_seed(0)
    smooth = F.interpolate(torch.rand(1, 3, 5, 5, generator=g), (41, 41), mode="bicubic", align_corners=True).clamp(
        0, 1
    )
    assert len(turned(smooth, 8)) == 8
    assert all(map(torch.equal, turned(smooth, 8)[:4], turned(smooth, 4)))
    image = Image.fromarray((smooth[0].permute(1, 2, 0) * 255).byte().numpy())
    inside = (torch.cartesian_prod(*[torch.arange(41.0) - 20] * 2).norm(dim=1) <= 18).reshape(41, 41)
    angles = [45 * k for k in range(8)]
    theirs = [
        torch.from_numpy(np.asarray(image.rotate(a, Image.Resampling.BILINEAR)) / 255.0).permute(2, 0, 1)
        for a in angles
    ]
    nearest = [
        min(range(8), key=lambda k: float((y[0] - theirs[k])[:, inside].abs().mean())) for y in turned(smooth, 8)
    ]
    assert sorted(nearest) == list(range(8))
    assert all(
        (y[0] - theirs[k])[:, inside].abs().max() < 0.02 for y, k in zip(turned(smooth, 8), nearest, strict=True)
    )


def test_the_foreground_equals_a_singular_vector_and_pools() -> None:
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        h, w = int(torch.randint(8, 16, (), generator=g)), int(torch.randint(8, 16, (), generator=g))
        top, left = int(torch.randint(0, h // 2, (), generator=g)), int(torch.randint(0, w // 2, (), generator=g))
        z = 0.3 * torch.randn(h, w, 6, generator=g)
        z[top : top + h // 2, left : left + w // 2] += 2 * torch.randn(6, generator=g)
        cells = z.flatten(0, 1).double()
        cells = cells - cells.mean(0)
        first = (cells @ torch.linalg.svd(cells, full_matrices=False).Vh[0]).reshape(h, w)
        wanted = []
        for one in (first, -first):  # the sign of a component is open
            mask = one > 1.0
            if mask[int(0.2 * h) : int(0.8 * h), int(0.2 * w) : int(0.8 * w)].double().mean() <= 0.35:
                mask = -one > 1.0
            wide = F.max_pool2d(F.max_pool2d(mask[None].double(), 3, 1, 1), 3, 1, 1)
            wanted.append((-F.max_pool2d(-wide, 3, 1, 1))[0].bool().numpy())
        assert any(np.array_equal(foreground_of(z, 1.0), mask if mask.any() else ~mask) for mask in wanted)


def test_what_is_around_a_thing_does_not_count_where_it_is_masked() -> None:
    def photo(scratch: tuple[int, int] | None) -> Image.Image:
        pixels = np.full((64, 64, 3), 20, np.uint8)
        pixels[12:52, 12:52] = 250
        if scratch is not None:
            pixels[scratch[0] : scratch[0] + 4, scratch[1] : scratch[1] + 4] = (0, 160, 0)
        return Image.fromarray(pixels)

    kit, evidence = Kit({"main": DenseColours()}), Evidence(train=Table(Pictures([photo(None)])))
    photos = Pictures([photo(None), photo((0, 0)), photo((32, 32))])
    whole, masked = (
        [a.score for a in PatchMemory(turns=1, side=64, foreground=one).fit(kit, evidence, Run()).detect(photos, Run())]
        for one in (None, 0.2)
    )
    assert whole[1] > 0.1
    assert whole[2] > 0.1
    assert masked[1] < 1e-6 < 0.1 < masked[2]


def test_blank_parts_are_known_where_normal_photos_have_them() -> None:
    def photo(blank: bool) -> Image.Image:
        pixels = np.full((64, 64, 3), 200, np.uint8)
        if blank:
            pixels[:16] = 0
        return Image.fromarray(pixels)

    kit = Kit({"main": DenseColours()})
    for blank, score in ((True, 0.0), (False, 1.0)):
        fitted = PatchMemory(turns=1, side=64).fit(kit, Evidence(train=Table(Pictures([photo(blank)]))), Run())
        (found,) = fitted.detect(Pictures([photo(True)]), Run())
        assert found.score == pytest.approx(score, abs=1e-6)


def test_cells_that_are_all_alike_are_all_looked_at() -> None:
    assert foreground_of(torch.ones(6, 6, 3), 1.0).all()


def test_memory_holds_the_shots_in_their_turns_and_is_drawn_by_the_seed() -> None:
    one = fit(PatchMemory(shots=1, turns=1, side=40)).memory
    assert len(fit(PatchMemory(shots=2, turns=2, side=40)).memory) == 4 * len(one)
    assert len(fit(PatchMemory(shots=None, turns=1, side=40)).memory) == 6 * len(one)
    assert len(fit(PatchMemory(shots=16, turns=1, side=40)).memory) == 6 * len(one)
    drawn = [fit(PatchMemory(shots=1, side=40), seed).memory for seed in (0, 0, 1, 2, 3)]
    assert torch.equal(drawn[0], drawn[1])
    assert not all(torch.equal(drawn[0], other) for other in drawn[2:])


def test_what_cannot_be_is_refused() -> None:
    refused(PatchMemory, {"shots": 0}, {"turns": 3}, {"tail": 0.0}, {"tail": 1.5}, {"side": 0}, {"foreground": 0.0})
    with pytest.raises(MissingHook, match="dense maps"):
        PatchMemory().fit(Kit({"main": SmallBackbone()}), Evidence(train=scratched(2, 0, seed=1)), Run())
