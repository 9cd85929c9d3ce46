"""How tiny is trained: held-out pairs stay out, masked shapes get no gradient, and a batch lies in one stage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from diptych.core import Clock, Row, Run
from diptych.data.scenes.sprites import Picture, SpriteBank
from diptych.train.schedule import Fit
from recipes.scene_probes import judge
from recipes.tiny import untrained
from recipes.tiny_training import PATCHES, Photos, TinyTrainee, stages

FIT = Fit(lr=1e-3, batch=8, steps=100)


@pytest.fixture(scope="module")
def trainee() -> TinyTrainee:
    g = torch.Generator().manual_seed(0)
    photos = Photos(
        torch.randint(256, (3, 64, 64, 3), generator=g, dtype=torch.uint8),
        torch.rand(3, 1280, generator=g),
        torch.rand(3, 1280, 7, 7, generator=g).half(),
        torch.arange(15).reshape(3, 5),
        torch.full((3, 5), 0.2),
    )
    bank = SpriteBank()
    cup = Picture("cup", torch.full((8, 8, 4), 255, dtype=torch.uint8).numpy())
    plan = stages(bank, replace(bank, pictures=(cup,), picture_share=0.8))
    return TinyTrainee(untrained(0), Run(seed=0), FIT, plan, photos, [f"thing {i}" for i in range(1000)])


def batch(trainee: TinyTrainee, number: int) -> Any:
    rows = [Row(i, i, str(i)) for i in range(number * FIT.batch, (number + 1) * FIT.batch)]
    return trainee.collate([trainee.views(r, Run(seed=0).generator(f"views/{r.key}")) for r in rows])


def test_a_batch_lies_in_one_stage_and_keeps_its_patches(trainee: TinyTrainee) -> None:
    assert [trainee.stage(n * FIT.batch).keep for n in (0, 39, 40, 91, 92, 99)] == [16, 16, 32, 32, PATCHES, PATCHES]
    assert {trainee.stage(40 * FIT.batch + i).keep for i in range(FIT.batch)} == {32}
    for number, keep in ((0, 16), (50, 32), (95, PATCHES)):
        found = batch(trainee, number)
        assert found["keep"].shape == (8, keep)
        assert found["named"].shape == (8, 1 + keep, 2)
        assert all(len(set(row.tolist())) == keep for row in found["keep"])


def test_held_out_pairs_are_never_drawn(trainee: TinyTrainee) -> None:
    held = trainee.plan[0].recipes[0].held_out
    assert len(held) == round(0.25 * 120)
    seen = set()
    for number in (0, 1, 2, 50, 51, 95):
        named = batch(trainee, number)["named"].flatten(0, 1)
        seen |= {(trainee.colours[c], trainee.shapes[s]) for c, s in named[named[:, 0] >= 0].tolist()}
    assert len(seen) > 20
    assert not seen & held


def test_shapes_held_out_with_a_colour_take_no_part_in_its_softmax(trainee: TinyTrainee) -> None:
    tokens = torch.randn(5, 192, generator=torch.Generator().manual_seed(1))
    colour = torch.tensor([0, 1, 2, 3, 4])
    shape = (~trainee.absent[colour]).float().argmax(1)  # a shape that the colour has
    got = trainee._naming(tokens, torch.stack([colour, shape], dim=1)).detach()
    scores = trainee.linear["name"](tokens).detach().double()
    expected = 0.0
    for row, c, s in zip(scores, colour.tolist(), shape.tolist(), strict=True):
        kept = [j for j in range(len(trainee.shapes)) if not trainee.absent[c, j]]
        expected += float(cross_entropy(row[: len(trainee.colours)][None], torch.tensor([c])))
        expected += float(cross_entropy(row[len(trainee.colours) :][kept][None], torch.tensor([kept.index(s)])))
    assert float(got) == pytest.approx(expected / 5, rel=1e-5)
    assert float(trainee._naming(tokens, torch.full((5, 2), -1)).detach()) == 0.0


def test_every_term_has_a_gradient_and_no_image_row_is_lost(trainee: TinyTrainee) -> None:
    found = batch(trainee, 60)
    found["photo"][0] = 1
    terms = trainee.losses(found, "main", Clock(0, 100, 0, torch.Generator()))
    assert set(terms) == {"contrastive", "patch name", "name", "map", "pooled"}
    sum(terms.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    silent = [n for n, p in trainee.module().named_parameters() if p.grad is None]
    assert silent == []


def test_the_probes_of_an_untrained_model_are_near_chance() -> None:
    found = judge(untrained(0), items=120)
    for probe in found.values():
        assert probe["items"] <= 120
        assert probe["low"] <= probe["chance"] + 0.15
