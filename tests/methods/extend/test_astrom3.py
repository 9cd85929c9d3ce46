from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from diptych.core import (
    Clock,
    DataError,
    Embedded,
    Evidence,
    Kit,
    MissingEvidence,
    MissingHook,
    Row,
    Run,
    Subset,
    Table,
)
from diptych.data.stars import Star, Stars
from diptych.features.embed import embed
from diptych.methods.extend.astrom3 import MODALITIES, PAIRS, AstroM3
from diptych.nn.spaces.star_space import StarSpace, windowed
from diptych.nn.spaces.star_towers import CurveTower
from diptych.nn.summed_pairs import SummedPairs
from diptych.train.pair import PairTrainee
from proofs.benches.stars import paired_anew
from tests.support.refused import refused
from tests.support.stars import GRID, star, stars

SMALL = AstroM3(
    length=24,
    grid=(4000.0, 5000.0, 256),
    width=16,
    layers=1,
    heads=2,
    hidden=32,
    facts=16,
    dim=16,
    rate=2e-3,
    epochs=50,
    batch=32,
    dropouts=(0.0, 0.0, 0.0),
)
RUN = Run(workers=1)
CLOCK = Clock(0, 1, 0, torch.Generator())


def fit(method: AstroM3, samples: Any, **more: Any) -> StarSpace:
    return method.fit(Kit(), Evidence(unlabelled=samples, **more), RUN)


def rank_one(space: StarSpace, a: str, b: str, samples: Stars) -> float:
    x, y = (normalize(embed(space.encoders[m], samples, RUN), dim=-1) for m in (a, b))
    return float((x @ y.T).argmax(1).eq(torch.arange(len(samples))).float().mean())


def test_what_stands_in_padding_reaches_no_measurement() -> None:
    tower = CurveTower(12, 8, 1, 2, 16, 0.0).eval()
    x = torch.randn(2, 12, 6)
    x[..., -1] = (torch.arange(12) < 7).float()
    other = x.clone()
    other[:, 7:, :5] = 100.0
    with torch.no_grad():
        torch.testing.assert_close(tower(x), tower(other))


def _curve(encoder: Any, one: Star) -> torch.Tensor:
    out: torch.Tensor = encoder.inputs([one])[0]
    return out


def test_training_and_test_see_the_same_numbers_of_a_measurement() -> None:
    one = star(3, points=60)
    encoder = SMALL.fresh(stars(2), RUN).encoders["photometry"]
    middle = _curve(encoder, one)
    drawn = _curve(encoder, windowed(Row(one, 0, "k"), torch.Generator().manual_seed(2)))
    assert not torch.equal(middle, drawn)
    shared = [i for i in range(24) if (drawn[:, 0] == middle[i, 0]).any()]
    assert shared
    for i in shared:
        torch.testing.assert_close(drawn[drawn[:, 0] == middle[i, 0]][0], middle[i])


def test_the_loss_is_the_sum_of_six_cross_entropies() -> None:
    g = torch.Generator().manual_seed(0)
    x = {m: torch.randn(6, 8, generator=g) for m in MODALITIES}
    scales = {pair: torch.tensor(3.0 + i) for i, pair in enumerate(PAIRS)}
    terms = SummedPairs(PAIRS).terms(
        Embedded(x, lambda a, b: (scales[a, b], torch.zeros(())), lambda t: t), nn.Identity(), CLOCK
    )
    for (a, b), scale in scales.items():
        z = scale * normalize(x[a], dim=-1) @ normalize(x[b], dim=-1).T
        by_hand = cross_entropy(z, torch.arange(6)) + cross_entropy(z.T, torch.arange(6))
        torch.testing.assert_close(terms[f"{a}-{b}"], by_hand)


def test_metadata_that_are_not_finite_are_unknown() -> None:
    tower = SMALL.fresh(stars(8), RUN).encoders["metadata"].features  # type: ignore[attr-defined]
    known, unknown = torch.ones(1, 4), torch.ones(2, 4)
    unknown[:, 1] = torch.tensor([torch.nan, -torch.inf])
    with torch.no_grad():
        a, b = tower(unknown)
        assert torch.equal(a, b)
        assert not torch.allclose(a, tower(known)[0])


def test_where_all_is_alike_a_pair_costs_two_ln_b() -> None:
    space = SMALL.fresh(stars(8), RUN)
    same = Embedded({m: torch.ones(8, 16) for m in MODALITIES}, space.scale, lambda t: t)
    terms = SummedPairs(PAIRS).terms(same, nn.Identity(), CLOCK)
    assert [t.item() for t in terms.values()] == pytest.approx([2 * math.log(8)] * 3, rel=1e-5)


def test_sizes_are_those_of_the_paper() -> None:
    paper = AstroM3()
    space = paper.fresh(
        Stars(("a", "b"), [dataclasses.replace(star(i), metadata=np.arange(34.0) + i) for i in range(2)]), RUN
    )
    module = space.module()

    def count(part: nn.Module) -> float:
        return sum(p.numel() for p in part.parameters())

    assert module.towers["photometry"].out == 25_600
    assert module.towers["spectra"].out == 1_184
    assert count(module.towers["photometry"]) == pytest.approx(1.59e6, rel=0.01)
    assert count(module.towers["spectra"]) == pytest.approx(22e3, rel=0.03)
    assert count(module.towers["metadata"]) == pytest.approx(281e3, rel=0.01)
    assert count(module.projections["photometry"]) == pytest.approx(13.1e6, rel=0.01)
    assert count(module.projections["spectra"]) == pytest.approx(0.61e6, rel=0.01)
    assert count(module.projections["metadata"]) == pytest.approx(0.26e6, rel=0.02)
    assert all(space.scale(*pair)[0].item() == pytest.approx(100) for pair in PAIRS)


def test_modalities_find_each_other_and_shuffled_ones_do_not() -> None:
    data, method = stars(64), dataclasses.replace(SMALL, epochs=80)
    space = fit(method, data)
    order = np.random.default_rng(0).permutation(64).tolist()
    spoiled = fit(method, paired_anew(data, order))
    unseen = stars(16, 500)
    assert rank_one(space, "spectra", "metadata", unseen) > 0.4
    assert rank_one(spoiled, "spectra", "metadata", unseen) < 0.3
    assert all(1 <= space.scale(*pair)[0] <= 100.001 for pair in PAIRS)


@torch.no_grad()
def test_two_passes_agree_and_padding_does_not_count() -> None:
    space = SMALL.fresh(stars(8), RUN)
    encoder = space.encoders["photometry"]
    short, long = star(1, 10), star(2, 40)
    together, alone = encoder.encode(encoder.inputs([short, long])), encoder.encode(encoder.inputs([short]))
    torch.testing.assert_close(together[:1], alone)
    assert torch.equal(encoder.encode(encoder.inputs([short])), alone)
    x = encoder.inputs([short])
    assert isinstance(x, torch.Tensor)
    spoiled = x.clone()
    spoiled[:, 11:23, :3] = (
        7.0  # rows of padding; those next to measurements are seen by the convolution, round the end too
    )
    features = space.encoders["photometry"].features  # type: ignore[attr-defined]
    torch.testing.assert_close(features(spoiled), features(x))
    assert not features(x)[:, 16 * 10 :].any()


def test_val_stops_early_and_the_metadata_are_standardised_by_training_stars_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, val = stars(16), stars(8, 200)
    curve = iter([3.0, 2.0, 1.0, *[1.5] * 37])  # the loss on val after each of 40 epochs; the third is the best
    states: list[dict[str, torch.Tensor]] = []

    def validate(trainee: PairTrainee, batches: Any, clock: Clock) -> float:
        assert sum(len(b["photometry"]) for b in batches) == len(val)
        states.append({n: t.clone() for n, t in trainee.module().state_dict().items()})
        return next(curve)

    monkeypatch.setattr(PairTrainee, "validate", validate)
    stopped = fit(dataclasses.replace(SMALL, epochs=40), data, val=Table(val))
    assert len(states) == 3 + 6
    best, last = states[2], states[-1]
    assert any((best[n] - last[n]).abs().max() > 1e-3 for n in best if best[n].is_floating_point())
    for n, t in stopped.module().state_dict().items():
        assert torch.equal(t, best["space." + n]), n
    facts = np.stack([s.metadata for s in data.stars if s.metadata is not None])
    tower: Any = stopped.module().towers["metadata"]
    np.testing.assert_allclose(tower.mean[:3].numpy(), facts[:, :3].mean(0), rtol=1e-5)
    np.testing.assert_allclose(tower.std[:3].numpy(), facts[:, :3].std(0), rtol=1e-5)
    assert tower.std[3] == 1  # never known


def test_rebuilding_keeps_the_vectors() -> None:
    space = SMALL.fresh(stars(4), RUN)
    again = space.rebuild(space.module(), space.spec)
    assert again.fingerprint == space.fingerprint
    with pytest.raises(MissingHook, match="StarModule"):
        space.rebuild(nn.Identity(), space.spec)
    with pytest.raises(MissingHook, match="astrom3 has no image tower"):
        space.tower("image")


def test_bad_input() -> None:
    with pytest.raises(MissingEvidence, match="unlabelled"):
        SMALL.fit(Kit(), Evidence(), RUN)
    with pytest.raises(DataError, match="at least 2"):
        fit(SMALL, Subset(stars(3), (0,)))
    bare = Stars(("a", "b"), [star(0), dataclasses.replace(star(1), spectrum=None)])
    with pytest.raises(DataError, match="b has no spectrum"):
        fit(SMALL, bare)
    encoder = SMALL.fresh(stars(2), RUN).encoders["spectra"]
    with pytest.raises(DataError, match="has no spectrum"):
        encoder.inputs([bare.stars[1]])
    refused(AstroM3, {"length": 0}, {"width": 10, "heads": 4}, {"grid": (1.0, 2.0, 100)}, {"grid": (2.0, 1.0, 256)})
    assert len(GRID) == 256
