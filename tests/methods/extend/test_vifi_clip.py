from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import save
from diptych.core import (
    Backbone,
    Column,
    DataError,
    Evidence,
    Kit,
    MissingEvidence,
    MissingHook,
    NotAvailable,
    Run,
    Table,
    UsageError,
)
from diptych.features.clips import ClipSpace
from diptych.features.embed import embed
from diptych.methods.extend.frame_mean import FrameMean
from diptych.methods.extend.vifi_clip import Tunes, ViFiCLIP
from tests.support.backbone import SmallBackbone
from tests.support.moving import clip_task, moving
from tests.support.refused import refused
from tests.support.small_clip import small_clip

RUN = Run(workers=1)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def fit(method: ViFiCLIP, backbone: Backbone, evidence: Evidence[Any] | None = None, seed: int = 0) -> ClipSpace:
    return method.fit(
        Kit({"main": backbone}), evidence or Evidence(train=clip_task()[0].train), Run(seed=seed, workers=1)
    )


def quick(tunes: Tunes = "full", **more: Any) -> ViFiCLIP:
    given: dict[str, Any] = {"frames": 4, "epochs": 3, "batch": 6, "length": 2, "rate": 1e-2, **more}
    return ViFiCLIP(tunes=tunes, **given)


def state(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in backbone.module().state_dict().items()}


def changed(before: dict[str, torch.Tensor], backbone: Backbone) -> set[str]:
    return {n for n, t in backbone.module().state_dict().items() if not torch.equal(before[n], t)}


@pytest.mark.parametrize("tunes", ["full", "prompts", "heads"])
def test_what_is_not_tuned_stays_and_the_backbone_too(tunes: Tunes, vit: Backbone) -> None:
    before = state(vit)
    space = fit(quick(tunes), vit)
    assert not changed(before, vit)
    moved = changed(before, space.base)
    if tunes == "prompts":
        assert not moved
        assert space.image.fingerprint != FrameMean(4).fit(Kit({"main": vit}), Evidence(), RUN).image.fingerprint
    if tunes == "heads":
        assert moved == {
            "visual.ln_post.weight",
            "visual.ln_post.bias",
            "visual.proj",
            "text_projection",
            "logit_scale",
        } - ({"visual.ln_post.weight", "visual.ln_post.bias"} - moved)
    if tunes == "full":
        assert "token_embedding.weight" not in moved
        assert {"visual.conv1.weight", "positional_embedding", "logit_scale", "text_projection"} <= moved


@pytest.mark.parametrize(("towers", "still"), [("image", "text_projection"), ("text", "visual.proj")])
def test_one_tower_alone(towers: Any, still: str, vit: Backbone) -> None:
    before = state(vit)
    moved = changed(before, fit(quick(towers=towers), vit).base)
    assert still not in moved
    assert "logit_scale" not in moved
    assert moved


@pytest.mark.parametrize("tunes", ["full", "heads"])
def test_a_rate_of_zero_is_the_frame_mean(tunes: Tunes, vit: Backbone) -> None:
    space = fit(quick(tunes, rate=0.0), vit)
    items = clip_task()[1].items
    still = FrameMean(4).fit(Kit({"main": vit}), Evidence(), RUN)
    torch.testing.assert_close(embed(space.image, items, RUN), embed(still.image, items, RUN))


@pytest.mark.parametrize("tunes", ["full", "prompts", "heads"])
def test_clips_played_backwards_are_the_same(tunes: Tunes, vit: Backbone) -> None:
    space = fit(quick(tunes), vit)
    table = moving([0, 1, 2], 7)
    back = [tuple(reversed(table.items[i])) for i in range(3)]
    with torch.no_grad():
        one = space.image.encode(space.image.inputs([table.items[i] for i in range(3)]))
        torch.testing.assert_close(space.image.encode(space.image.inputs(back)), one)


@pytest.mark.parametrize("tunes", ["full", "prompts", "heads"])
def test_it_learns_the_classes(tunes: Tunes, vit: Backbone) -> None:
    evidence, test = clip_task(shots=4)
    method = quick(tunes, epochs=25, batch=12, rate=3e-2 if tunes == "prompts" else 3e-3, mix=False)
    space = fit(method, vit, Evidence(train=evidence.train))

    def accuracy(s: Backbone) -> float:
        v = torch.nn.functional.normalize(embed(s.image, test.items, RUN), dim=-1)
        texts = [f"a photo of a {n}." for n in ("red fox", "oak tree", "tea cup")]
        with torch.no_grad():
            w = torch.nn.functional.normalize(s.text.encode(s.text.inputs(texts)), dim=-1)
        return float(((v @ w.T).argmax(1).numpy() == test.labels()).mean())

    assert accuracy(space) > accuracy(FrameMean(4).fit(Kit({"main": vit}), Evidence(), RUN)) + 0.25


def test_the_bridge_is_tuned_before_the_prompts(vit: Backbone) -> None:
    evidence, _ = clip_task()
    before = state(vit)
    with_bridge = fit(quick("prompts", epochs=1), vit, evidence)
    without = fit(quick("prompts", epochs=1), vit, dataclasses.replace(evidence, auxiliary=None))
    assert changed(before, with_bridge.base)
    assert not changed(before, without.base)


def test_words_start_the_prompts(vit: Backbone) -> None:
    evidence = Evidence(train=clip_task()[0].train)
    plain, worded = (
        fit(quick("prompts", epochs=1, rate=0.0, length=4, words=w), vit, evidence) for w in ("", "a photo of a")
    )
    texts = plain.text.inputs(["cat."])
    with torch.no_grad():
        assert not torch.equal(plain.text.encode(texts), worded.text.encode(texts))
    with pytest.raises(UsageError, match="at most 4"):
        fit(quick("prompts", length=8, words="a photo of a big"), vit, evidence)


def test_saved_weights_give_the_same_clip_vectors(vit: Backbone, tmp_path: Path) -> None:
    space = fit(quick("heads"), vit)
    save(space.base, tmp_path / "tuned")
    again = FrameMean(4).fit(Kit({"main": load(f"local:{tmp_path / 'tuned'}")}), Evidence(), RUN)
    items = clip_task()[1].items
    torch.testing.assert_close(embed(again.image, items, RUN), embed(space.image, items, RUN))


def test_heads_of_lite_learn_and_its_towers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        lite = load("lite")
    except NotAvailable as error:
        pytest.skip(str(error))
    space = fit(ViFiCLIP(tunes="heads", frames=1, epochs=1), lite, Evidence(train=moving([0, 1, 2], 1, frames=1)))
    moved = changed(state(lite), space.base)
    assert moved == {"image_head.classifier.weight", "image_head.classifier.bias"} | {
        f"text_head.mlp.{i}.{p}" for i in (0, 2) for p in ("weight", "bias")
    }


def test_bad_input(vit: Backbone) -> None:
    train = clip_task()[0].train
    assert train is not None
    with pytest.raises(MissingEvidence, match="train"):
        fit(quick(), vit, Evidence())
    with pytest.raises(DataError, match="no captions"):
        fit(quick(), vit, Evidence(train=Table(train.items)))
    texts = [("a",), ("a", "b"), *[("a",)] * (len(train) - 2)]
    with pytest.raises(DataError, match="clip 1 has 2 texts"):
        fit(quick(), vit, Evidence(train=Table(train.items, {"captions": Column("captions", texts)})))
    with pytest.raises(MissingHook, match="small"):
        fit(quick("prompts"), SmallBackbone(), Evidence(train=train))
    refused(ViFiCLIP, {"frames": 0}, {"rate": -1.0})
