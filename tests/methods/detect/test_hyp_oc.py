from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.core import Clock, DataError, Evidence, Kit, Run, Table
from diptych.methods.detect.hyp_oc import FittedHypOC, HypOC, HypOCTrainee
from diptych.nn.hyperbolic import HypOCHead, distance, exponential
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.scratches import scratched

SMALL = HypOC(widths=(32, 16), rate=3e-3, epochs=60)


def fit(method: HypOC, seed: int = 0, count: int = 16) -> FittedHypOC:
    return method.fit(Kit({"main": SmallBackbone()}), Evidence(train=scratched(count, 0, seed=1)), Run(seed=seed))


def clock(step: int) -> Clock:
    return Clock(step, 10, 0, torch.Generator().manual_seed(step))


def noise(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def head(method: HypOC = SMALL, dim: int = 6) -> HypOCHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return method.head(dim)


def test_the_loss_equals_its_equation() -> None:
    """One step by a NumPy loop over samples, with the noise that the clock's generator gives."""
    own, f = head(), noise(4, 6)
    result = HypOCTrainee(SMALL, own, f).losses({"f": f}, "main", clock(0))
    g = f.mean(0) + torch.randn(f.shape, generator=torch.Generator().manual_seed(0))
    c, total = 0.1, 0.0
    with torch.no_grad():
        points = [own(x[None])[0] for x in f]
        planes = exponential(own.points, torch.zeros(16), c)
        for label, rows in ((0, f), (1, g)):
            for x in rows:
                y, z = own(x[None])[0].double().numpy(), []
                for k in range(2):
                    p = planes[k].double().numpy()
                    a = own.normals[k].double().numpy() * (1 - c * p @ p)
                    m, xy, xx, yy = -p, -p @ y, p @ p, y @ y
                    u = ((1 + 2 * c * xy + c * yy) * m + (1 - c * xx) * y) / (1 + 2 * c * xy + c * c * xx * yy)
                    size = np.linalg.norm(a)
                    inside = 2 * math.sqrt(c) * (u @ a) / ((1 - c * u @ u) * size)
                    z.append(2 / (1 - c * xx) * size / math.sqrt(c) * math.asinh(inside))
                total += math.log(sum(math.exp(v) for v in z)) - z[label]
        pairs = sum(float(distance(points[i], points[i + 2], c)) for i in range(2)) / 4
    assert result["classes"].item() == pytest.approx(total / 8, rel=1e-4)
    assert result["pairs"].item() == pytest.approx(pairs, rel=1e-4)


def test_the_learnt_base_is_a_tangent_vector_at_0() -> None:
    """By NumPy: b = tanh(sqrt(c) |v|) v / (sqrt(c) |v|), and the point is b (+) the map of the clipped features."""
    own, f, c = head(), noise(5, 6), 0.1
    with torch.no_grad():
        own.base.copy_(noise(16, seed=3) * 0.5)
        found, flat = own(f).double().numpy(), own.net(f).double().numpy()
    v = own.base.detach().double().numpy()
    size = np.linalg.norm(v)
    b = np.tanh(c**0.5 * size) * v / (c**0.5 * size)
    for x, y in zip(flat, found, strict=True):
        x *= min(1.0, 2.0 / (np.linalg.norm(x) + 1e-5))
        n, factor = np.linalg.norm(x), 2 / (1 - c * b @ b)
        w = np.tanh(c**0.5 * factor * n / 2) * x / (c**0.5 * n)
        up = (1 + 2 * c * b @ w + c * w @ w) * b + (1 - c * b @ b) * w
        np.testing.assert_allclose(y, up / (1 + 2 * c * b @ w + c * c * (b @ b) * (w @ w)), rtol=1e-4, atol=1e-5)


def test_the_mean_runs_on_between_steps() -> None:
    own = head()
    trainee = HypOCTrainee(SMALL, own, noise(4, 6))
    first, second = noise(4, 6, seed=1), noise(4, 6, seed=2)
    for step, f in enumerate((first, second)):
        trainee.losses({"f": f}, "main", clock(step))
        trainee.after("step", clock(step))
    torch.testing.assert_close(own.mean, 0.8 * first.mean(0) + 0.2 * second.mean(0))


def test_pairs_are_pulled_by_artanh_and_the_slip_of_the_code_is_weaker_far_apart() -> None:
    x, y = exponential(noise(5, 4), torch.zeros(4), 0.1), exponential(noise(5, 4, seed=1), torch.zeros(4), 0.1)
    method, slipped = HypOC(), HypOC(pairs="atan")
    true, slip = method.distance(x, y), slipped.distance(x, y)
    torch.testing.assert_close(true, distance(x, y, 0.1))
    assert (slip < true).all()
    near = method.distance(x, x + 1e-3) / slipped.distance(x, x + 1e-3)
    torch.testing.assert_close(near, torch.ones(5), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(HypOC(geometry="euclidean").distance(x, y), (x - y).norm(dim=-1))


def test_scratches_rank_above_even_surfaces_and_the_control_learns_nothing() -> None:
    from diptych.evaluation.spoils import as_subclass
    from diptych.metrics.detection import auroc
    from proofs.detect import ResampledNegatives

    test = scratched(8, 8, seed=4)

    def ranks(method: HypOC) -> list[float]:
        return [
            auroc(np.array([a.score for a in fit(method, s).detect(test.items, Run())]), test.labels()) for s in (1, 2)
        ]

    assert min(ranks(SMALL)) > 0.9
    spoiled = as_subclass(ResampledNegatives).change(SMALL, Run())
    assert np.mean(ranks(spoiled)) < np.mean(ranks(SMALL))


def test_odd_and_few_photos_make_even_batches_and_the_twin_trains() -> None:
    for count in (2, 3, 9):
        assert len(list(fit(replace(SMALL, epochs=1), count=count).detect(scratched(1, 1, seed=2).items, Run()))) == 2
    twin = fit(replace(SMALL, geometry="euclidean", epochs=2))
    assert torch.equal(twin.state["base"], torch.zeros(16))


def test_what_cannot_be_is_refused() -> None:
    refused(
        HypOC,
        {"batch": 3},
        {"sigma": 0.0},
        {"alpha": 1.5},
        {"curvature": -1.0},
        {"rate": 0.0},
        {"widths": ()},
        {"epochs": 0},
        {"geometry": "flat"},
        {"pairs": "tan"},
    )
    alike = Table(Pictures((Image.new("RGB", (20, 20), "blue"),) * 3))
    with pytest.raises(DataError, match="too few"):
        SMALL.fit(Kit({"main": SmallBackbone()}), Evidence(train=alike), Run())
