"""DIVA: its loss against a loop, what learns and what does not, its limits, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diptych.backbones.changes.apply import changed
from diptych.core import Clock, Condition, Evidence, Kit, Learns, MissingEvidence, MissingHook, MissingPart, Space
from diptych.core.train import everything
from diptych.methods.pretrain.diva import DIFFUSION, DIVA, FeedbackTrainee
from diptych.train.recipe import train_space
from tests.support.backbone import SmallBackbone
from tests.support.checkpoints import FAMILIES
from tests.support.diffusion import random_diffusion
from tests.support.refused import refused
from tests.train.test_pair import FIT, RUN, Squares, rows, small

CLOCK = Clock(5, 10, 0, torch.Generator().manual_seed(0))
PHOTOS = Evidence[Any](unlabelled=Squares(40))


def kit(space: Space | None = None) -> Kit:
    return Kit({"main": space or small(), DIFFUSION: random_diffusion(small())})


def trainee(method: DIVA = DIVA(), learns: Learns = everything) -> FeedbackTrainee:  # noqa: B008
    (only,) = method.stages(kit(), None, PHOTOS, RUN, learns)
    assert isinstance(only, FeedbackTrainee)
    return only


def batch_of(t: FeedbackTrainee, count: int = 10) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(t.collate([t.views(row, RUN.generator(str(row.index))) for row in rows()[:count]]))


def moved(t: FeedbackTrainee) -> set[str]:
    """Return the first names of the parameters to which a gradient comes that is not 0."""
    t.losses(batch_of(t), "main", CLOCK)["noise"].backward()
    return {n for n, p in t.module().named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


@pytest.mark.parametrize("patches", [None, 3, 9])
@torch.no_grad()
def test_the_loss_against_a_loop(patches: int | None) -> None:
    t = trainee(DIVA(patches=patches, draws=3))
    batch, d = batch_of(t, 4), t.diffusion
    assert (batch["image"].shape, batch["picture"].shape) == ((4, 3, 32, 32), (4, 3, 8, 8))
    assert (batch["t"].shape, batch["noise"].shape) == ((4, 3), (4, 3, 3, 8, 8))
    visual: Any = t.space.module().visual
    h = visual.ln_post(visual.transformer(visual._embeds(batch["image"]))).numpy()
    w, b = t.reader.weight.numpy(), t.reader.bias.numpy()
    said = d.encode_text([t.recipe.prompt]).tokens[0].numpy()
    errors = []
    for i in range(4):
        told = range(4) if patches is None else batch["patches"][i].tolist()
        c = np.stack([h[i, 0], *(h[i, 1 + p] for p in told)]) @ visual.proj.numpy()
        y = c @ w.T + b + (said if len(said) == len(c) else said.mean(0))
        for k in range(3):
            step = batch["t"][i, k]
            a, noise = float(d.alphas_cumprod[step]), batch["noise"][i, k].numpy()
            z = a**0.5 * (2 * batch["picture"][i].numpy() - 1) + (1 - a) ** 0.5 * noise
            found = d.eps(torch.from_numpy(z)[None], step[None], Condition(torch.from_numpy(y)[None])).numpy()[0]
            errors.append(((found - noise) ** 2).mean())
    assert t.losses(batch, "main", CLOCK)["noise"].item() == pytest.approx(float(np.mean(errors)), rel=1e-4)


def test_a_sentence_with_as_many_tokens_is_added_token_by_token() -> None:
    t = trainee(DIVA(patches=9))
    length = len(t.prompt)
    assert length > 2
    c = torch.zeros(2, length, 12)
    assert torch.equal(t.condition(c), (t.reader.bias + t.prompt).expand(2, -1, -1))
    assert torch.allclose(t.condition(c[:, 1:]), t.reader.bias + t.prompt.mean(0))


def test_the_image_tower_and_the_reader_learn_alone() -> None:
    t = trainee()
    learnt = {n for g in t.groups() for n in g.names}
    assert all(n.startswith(("space.visual.", "reader.")) for n in learnt)
    assert moved(t) <= learnt
    assert {"reader.weight", "space.visual.conv1.weight", "space.visual.proj"} <= moved(t)
    assert not any(n.startswith("diffusion") or "denoiser" in n for n in t.module().state_dict())
    trained = train_space(DIVA(), kit(), PHOTOS, replace(FIT, steps=3), RUN)
    before, after = small().module().state_dict(), trained.space.module().state_dict()
    different = {n for n, p in before.items() if not torch.equal(p, after[n])}
    assert different
    assert all(n.startswith("visual.") for n in different)


def test_frozen_towers_leave_the_reader_to_learn() -> None:
    t = trainee(learns=lambda name: False)
    assert {n for g in t.groups() for n in g.names} == {"reader.weight", "reader.bias"}


def test_a_denoiser_that_does_not_read_its_condition_moves_nothing() -> None:
    given = random_diffusion(small())
    deaf = {n: torch.zeros_like(w) if "cross_attention.kv" in n else w for n, w in given.weights.items()}
    parts = Kit({"main": small(), DIFFUSION: replace(given, weights=deaf)})
    trained = train_space(DIVA(), parts, PHOTOS, replace(FIT, steps=3, decay=0.0), RUN)
    for name, p in small().module().state_dict().items():
        assert torch.equal(p, trained.space.module().state_dict()[name]), name


def test_it_learns_what_the_denoiser_reads_and_one_picture_is_enough() -> None:
    for photos in (Squares(40), Squares(1)):
        fit = replace(FIT, batch=min(10, len(photos)), steps=60)
        trained = train_space(DIVA(draws=4), kit(), Evidence(unlabelled=photos), fit, RUN)
        losses = [r["main/noise"] for r in trained.log]
        assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_the_pooling_is_the_authors_or_the_backbones_own() -> None:
    fit = replace(FIT, steps=1)
    summed, own = (train_space(m, kit(), PHOTOS, fit, RUN).space for m in (DIVA(), DIVA(pooling="own")))
    assert [c.kind for c in summed.spec.changes] == ["cls-and-patches"]
    assert own.spec.changes == ()
    again = train_space(DIVA(), kit(changed(small(), "cls-and-patches")), PHOTOS, fit, RUN).space
    assert again.spec.changes == summed.spec.changes
    assert all(torch.equal(p, again.module().state_dict()[n]) for n, p in summed.module().state_dict().items())


def test_a_denoiser_of_another_width_and_size_teaches_as_well() -> None:
    reader = small(text_cfg={**FAMILIES["vit"][0]["text_cfg"], "width": 24})
    wide = random_diffusion(reader, size=16)
    assert wide.encode_text(["a red star"]).tokens.shape[-1] == 24
    trained = train_space(DIVA(), Kit({"main": small(), DIFFUSION: wide}), PHOTOS, replace(FIT, steps=1), RUN)
    assert np.isfinite(trained.log[-1]["main/noise"])


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    from tests.train.test_captioning import coca

    with pytest.raises(MissingHook):
        next(iter(DIVA().stages(kit(SmallBackbone()), None, PHOTOS, RUN)))
    with pytest.raises(MissingHook, match="takes pooled vectors and no tokens"):
        next(iter(DIVA().stages(kit(coca()), None, PHOTOS, RUN)))
    with pytest.raises(MissingPart, match="TextDiffusion named 'diffusion'"):
        next(iter(DIVA().stages(Kit({"main": small()}), None, PHOTOS, RUN)))
    with pytest.raises(MissingEvidence):
        train_space(DIVA(), kit(), Evidence(), FIT, RUN)
    refused(DIVA, {"patches": 0}, {"draws": 0}, {"scale": (0.0, 1.0)}, {"pooling": "mean"})
