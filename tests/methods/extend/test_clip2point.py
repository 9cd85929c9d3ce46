from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import save
from diptych.core import Backbone, DataError, Evidence, Kit, Run, Texts
from diptych.data.shapes import Shapes
from diptych.features.depth_views import CloudEncoder
from diptych.features.derived_space import DerivedSpace
from diptych.features.embed import embed
from diptych.methods.extend.clip2point import CLIP2Point
from tests.support.clouds import cloud_task, clouds, shape
from tests.support.pictures import NAMES
from tests.support.refused import refused
from tests.support.small_clip import small_clip

RUN = Run(workers=1)
TEXTS = tuple(f"image of a {n}." for n in NAMES[:3])


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def quick(**more: Any) -> CLIP2Point:
    given: dict[str, Any] = {"epochs": 3, "batch": 9, "adapter_epochs": 4, "adapter_batch": 9, "rate": 1e-3, **more}
    return CLIP2Point(cameras=((0, 0), (0, 90)), radius=0.1, **given)


def fit(method: CLIP2Point, backbone: Backbone, *fields: str, seed: int = 0) -> DerivedSpace:
    evidence = cloud_task()[0]
    given = Evidence(**{name: getattr(evidence, name) for name in fields})
    return method.fit(Kit({"main": backbone}), given, Run(seed=seed, workers=1))


def state(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in backbone.module().state_dict().items()}


def test_without_evidence_it_is_the_backbone_on_depth_images(vit: Backbone) -> None:
    items = cloud_task()[1].items
    space, method = fit(quick(), vit), quick()
    plain = CloudEncoder(vit.image, method.cameras, method.radius)
    assert torch.equal(embed(space.image, items, RUN), embed(plain, items, RUN))
    assert space.spec.name.endswith("+clouds2")


@pytest.mark.parametrize("tunes", ["full", "heads"])
def test_a_rate_of_zero_pre_trains_nothing(tunes: Any, vit: Backbone) -> None:
    items = cloud_task()[1].items
    still, plain = fit(quick(tunes=tunes, rate=0.0), vit, "unlabelled"), fit(quick(), vit)
    torch.testing.assert_close(embed(still.image, items, RUN), embed(plain.image, items, RUN))


@pytest.mark.parametrize("tunes", ["full", "heads"])
def test_pre_training_moves_the_copy_of_the_image_tower_alone(tunes: Any, vit: Backbone) -> None:
    before = state(vit)
    after = state(fit(quick(tunes=tunes), vit, "unlabelled").base)
    assert all(torch.equal(t, before[n]) for n, t in state(vit).items())
    moved = {n for n, t in after.items() if not torch.equal(t, before[n])}
    assert moved
    assert all(n.startswith("visual.") for n in moved)
    assert ("visual.conv1.weight" in moved) == (tunes == "full")


def test_pre_training_brings_depth_images_to_their_pictures(vit: Backbone) -> None:
    test = cloud_task()[1]

    def gap(space: DerivedSpace) -> float:
        v = normalize(embed(space.image, test.items, RUN), dim=-1)
        shown = [test.items[i].picture for i in range(3)]
        with torch.no_grad():
            e = normalize(vit.image.encode(vit.image.inputs(shown)), dim=-1)
        cosines = v @ e.T
        own = torch.tensor([cosines[i, int(k)] for i, k in enumerate(test.labels())]).mean()
        return float(own - cosines.mean())

    assert gap(fit(quick(epochs=40), vit, "unlabelled")) > gap(fit(quick(), vit)) + 0.02


def test_adapters_learn_the_classes_and_leave_the_towers(vit: Backbone) -> None:
    test = clouds([0, 1, 2] * 5, 9)

    def accuracy(space: DerivedSpace) -> float:
        v = normalize(embed(space.image, test.items, RUN), dim=-1)
        w = normalize(embed(space.text, Texts(TEXTS), RUN), dim=-1)
        return float(((v @ w.T).argmax(1).numpy() == test.labels()).mean())

    before = state(vit)
    space = fit(quick(adapter_epochs=60, adapter_rate=1e-2), vit, "train")
    assert accuracy(space) > 0.8 > accuracy(fit(quick(), vit))
    assert all(torch.equal(t, before[n]) for n, t in state(vit).items())
    assert fit(quick(paths="depth"), vit, "train").fingerprint != fit(quick(paths="image"), vit, "train").fingerprint


def test_adapters_of_heads_take_the_same_views_as_those_of_towers(vit: Backbone) -> None:
    items, more = cloud_task()[1].items, {"rate": 0.0, "adapter_epochs": 1}
    one, two = (embed(fit(quick(tunes=t, **more), vit, "train").image, items, RUN) for t in ("full", "heads"))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_saved_weights_of_the_copy_give_the_same_vectors(vit: Backbone, tmp_path: Path) -> None:
    space = fit(quick(tunes="heads"), vit, "unlabelled")
    save(space.base, tmp_path / "tuned")
    again = fit(quick(), load(f"local:{tmp_path / 'tuned'}"))
    items = cloud_task()[1].items
    torch.testing.assert_close(embed(again.image, items, RUN), embed(space.image, items, RUN))


def test_bad_input(vit: Backbone) -> None:
    evidence = cloud_task()[0]
    kit = Kit({"main": vit})
    assert evidence.train is not None
    bare = Shapes(("bare", "b"), [replace(shape(0, 1), picture=None), shape(0, 2)])
    with pytest.raises(DataError, match="bare has no picture"):
        quick().fit(kit, Evidence(unlabelled=bare), RUN)
    with pytest.raises(DataError, match="at least 2 objects with a picture, got 1"):
        quick().fit(kit, Evidence(unlabelled=Shapes(("a",), [shape(0, 1)])), RUN)
    with pytest.raises(DataError, match="at least 2 clouds with a text, got 1"):
        quick().fit(kit, Evidence(train=evidence.train.take([0])), RUN)
    refused(
        CLIP2Point,
        {"tunes": "tower"}, {"paths": "text"}, {"radius": 0.0}, {"temperature": 0.0}, {"jitter": 1.0},
        {"batch": 1}, {"adapter_epochs": 0}, {"rate": -1.0}, {"cameras": ()},
    )  # fmt: skip
