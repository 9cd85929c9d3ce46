"""GALIP: two optimisers in one training, pictures from words, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diptych.core import EditAsk, Evidence, Kit, MissingEvidence, MissingHook, MissingPart, Row, Run, Table, UsageError
from diptych.features import portable
from diptych.methods.edit.galip import GALIP, _Adversaries
from diptych.nn.bridge_gan import hinge
from diptych.nn.frozen_vit_maps import as_input, block_maps
from diptych.train.loop import train
from diptych.train.schedule import Fit
from tests.support.colours import ColourBackbone
from tests.support.refused import refused
from tests.support.small_clip import small_clip
from tests.train.test_pair import small, squares

RUN = Run(seed=1, workers=0)
METHOD = GALIP(size=16, noise=4, width=8, least=4, bridge=4, inner=4, judge=8, rate=1e-2, ratio=2.0, batch=5, steps=2)


def fitted(space=None, method: GALIP = METHOD, run: Run = RUN, table: Table | None = None):
    return method.fit(Kit({"main": space or small()}), Evidence(train=table or squares(10)), run)


def adversaries(method: GALIP = METHOD) -> tuple[_Adversaries, dict]:
    space, table = small(), squares(5)
    made = _Adversaries(method, space, method.layout(space), RUN)
    rows = [Row(table.items[i], i, str(i), {"captions": table.columns["captions"].values[i]}) for i in range(5)]
    return made, dict(made.collate([made.views(row, RUN.generator(str(row.index))) for row in rows]))


def test_the_losses_of_both_phases() -> None:
    made, batch = adversaries()
    result = made.losses(batch, "d", None)
    with torch.no_grad():
        t, (z, other) = made.backbone.text.encode(batch["text"]), batch["z"].unbind(1)
        maps, fake = (block_maps(made.tower, as_input(made.backbone, x))[0] for x in (batch["image"], made.drawn(z, t)))
        d = made.discriminator
        torch.testing.assert_close(result["hinge"], hinge(d(maps, t), d(fake, t), d(maps, t[[4, 0, 1, 2, 3]])))
        drawn = as_input(made.backbone, made.drawn(other, t))
        cosine = torch.cosine_similarity(made.backbone.image.encode(drawn), t).mean()
        of_generator = made.losses(batch, "g", None)
        torch.testing.assert_close(of_generator["words"], -4 * cosine)
        torch.testing.assert_close(of_generator["adversarial"], -d(block_maps(made.tower, drawn)[0], t).mean())
    assert result["penalty"].item() > 0


def test_each_network_steps_by_its_own_optimiser_and_the_tower_stays() -> None:
    made, _ = adversaries()
    before = {n: p.detach().clone() for n, p in made.module().named_parameters()}
    tower = {n: p.detach().clone() for n, p in made.backbone.module().named_parameters()}
    fit = Fit(1e-3, 5, steps=1, optimizer="adam", betas=(0.0, 0.9), decay=0.0)
    train(made, squares(10), fit, RUN)
    moved = {n.split(".")[0]: [] for n in before}
    for n, p in made.module().named_parameters():
        moved[n.split(".")[0]].append(float((p.detach() - before[n]).abs().max()))
    assert max(moved["generator"]) == pytest.approx(1e-3, rel=0.05)  # the first step of Adam is the rate
    assert max(moved["discriminator"]) == pytest.approx(2e-3, rel=0.05)
    assert all(torch.equal(p, tower[n]) for n, p in made.backbone.module().named_parameters())


def test_pictures_depend_on_words_number_and_seed_alone(tmp_path: Path) -> None:
    space = small_clip(tmp_path / "clip")
    made = fitted(space)
    before = torch.get_rng_state()
    found = made.edit(EditAsk("", ("a red square", "blue"), count=2), Run(seed=3))
    assert torch.equal(torch.get_rng_state(), before)
    assert found.after.shape == (4, 3, 16, 16)
    assert 0 <= found.after.min() <= found.after.max() <= 1
    assert len(found.before) == 0
    alone = made.edit(EditAsk("", "blue", count=1), Run(seed=3)).after
    torch.testing.assert_close(alone[0], found.after[2])
    assert not torch.allclose(made.edit(EditAsk("", "blue"), Run(seed=4)).after, alone)
    portable.save(made, tmp_path / "fitted")
    again = portable.load(tmp_path / "fitted", Kit({"main": space}))
    assert torch.equal(again.edit(EditAsk("", "blue"), Run(seed=3)).after, alone)
    assert not any(p.grad is not None for p in space.module().parameters())


def test_same_seed_same_bits() -> None:
    ask = EditAsk("", "red")
    one, two, other = (fitted(run=Run(seed=s, workers=0)).edit(ask, Run()).after for s in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_what_is_missing_or_refused() -> None:
    made = fitted()
    with pytest.raises(UsageError, match="GALIP takes no reference picture"):
        made.edit(EditAsk("", "red", reference=squares(1).items[0]), RUN)
    with pytest.raises(UsageError, match="begins with words alone"):
        made.edit(EditAsk("", "red", images=squares(1).items), RUN)
    with pytest.raises(MissingEvidence, match="give like"):
        METHOD.fit(Kit({"main": small()}), Evidence(train=Table(squares(5).items)), RUN)
    with pytest.raises(MissingPart):
        METHOD.fit(Kit(), Evidence(train=squares(5)), RUN)
    with pytest.raises(MissingHook):
        fitted(ColourBackbone())
    refused(GALIP, {"size": 4}, {"batch": 1}, {"judge": 3}, {"words": -1.0}, {"power": 0.0}, {"rate": 0.0})
    fine = small(vision_cfg={"layers": 2, "width": 12, "patch_size": 2, "image_size": 32, "head_width": 6})
    with pytest.raises(UsageError, match="grid of 16 cells, got 8"):
        GALIP(size=8).layout(fine)
