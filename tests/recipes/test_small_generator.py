from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.backbones.generators import load
from diptych.core import Run
from diptych.train.schedule import Fit
from recipes.small_generator import SmallTrainee, judged, known_share, make, pyramid_loss


def test_pyramid_loss_against_a_loop() -> None:
    x, y = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    total, difference = 0.0, (x - y).double().numpy()[0]
    for _ in range(3):
        small = difference.reshape(len(difference) // 2, 2, -1, 2).mean((1, 3))
        total += np.abs(difference - small.repeat(2, 0).repeat(2, 1)).mean()
        difference = small
    total += np.abs(difference).mean()
    assert pyramid_loss(x[None], y[None]).item() == pytest.approx(total, rel=1e-5)
    assert pyramid_loss(x[None], x[None]).item() == 0.0


def test_z_is_told_what_to_draw() -> None:
    trainee = SmallTrainee(Run(seed=1))
    z = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    result = trainee.losses({"z": z}, "main", None)  # type: ignore[arg-type]
    assert set(result) == {"squared", "pyramid", "code"}
    assert all(torch.isfinite(v) and v.requires_grad for v in result.values())
    louder = trainee.losses({"z": 3 * z}, "main", None)  # type: ignore[arg-type]
    torch.testing.assert_close(
        result["squared"], louder["squared"], rtol=1e-3, atol=1e-4
    )  # the length of z says nothing
    wanted = trainee.wanted(z)
    torch.testing.assert_close(wanted, trainee.wanted(3 * z))
    strongest = (wanted @ trainee.frame.T)[:, 3:7].argmax(1)  # the frame's rows are orthogonal: the factors lie apart
    assert torch.equal(strongest, trainee.told(z).s[:, 3:7].argmax(1))
    names = [name for group in trainee.groups() for name in group.names]
    assert sorted(names) == sorted(name for name, _ in trainee.module().named_parameters())


def test_the_mapping_learns_what_lies_apart_before_any_picture() -> None:
    trainee, g = SmallTrainee(Run(seed=1)), torch.Generator().manual_seed(0)
    assert trainee.map_first(60, g, batch=64) < 0.6 * SmallTrainee(Run(seed=1)).map_first(1, g, batch=64)
    before = SmallTrainee(Run(seed=1)).nets.state_dict()
    changed = {name for name, t in trainee.nets.state_dict().items() if not torch.equal(t, before[name])}
    assert changed
    assert all("style/" in name for name in changed)


def test_a_training_goes_on_and_its_file_is_the_generator_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(steps: int) -> Fit:
        return Fit(lr=1e-3, batch=2, steps=steps, optimizer="adam", decay=0.0, ema=0.5, save_every=1)

    path = make(tmp_path / "out", fit(2), mapping_steps=2)
    assert make(tmp_path / "out", fit(2), mapping_steps=2) == path  # nothing left to do
    monkeypatch.setattr(load, "SMALL", path)
    generator, inverter = load.load_generator("small")
    assert (generator.size, generator.channels) == (32, (64, 64, 64, 64, 32, 32, 16))
    assert inverter is not None
    pictures = generator.synthesise(generator.sample(2, torch.Generator().manual_seed(0)))
    assert generator.synthesise(inverter.invert(pictures)).shape == (2, 3, 32, 32)
    assert path.stat().st_size < 5 * 2**20


def test_what_a_picture_shows_is_the_nearest_of_all_shapes_in_all_colours() -> None:
    factors = load.SMALL_DRAWS
    drawn = factors.factors(factors.sample(40, torch.Generator().manual_seed(0)))
    plain = {
        n: torch.eye(v.shape[1])[v.argmax(1)] if n in ("shape", "colour") else v for n, v in drawn.items()
    }  # no ties
    told = factors.styles(plain)
    right = factors.synthesise(told)
    assert known_share(right, told, factors) == {"shape": 1.0, "colour": 1.0}
    asked = factors.factors(told)
    turned = factors.synthesise(factors.styles({**asked, "shape": asked["shape"].roll(1, dims=1)}))
    assert known_share(turned, told, factors) == {"shape": 0.0, "colour": 1.0}


def test_the_generator_that_ships_draws_what_it_is_told_more_often_than_chance() -> None:
    judgement = judged(load.SMALL, draws=300)
    assert judgement["colour"] > 0.5  # chance 0.2
    assert judgement["shape"] > 0.35  # chance 0.25
