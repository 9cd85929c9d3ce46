from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diptych.backbones.generators.factors import FactorGenerator
from diptych.backbones.generators.load import load_generator, load_maps
from diptych.core import (
    Backbone,
    Clock,
    Column,
    DataError,
    EditAsk,
    Evidence,
    Kit,
    MissingEvidence,
    MissingPart,
    Run,
    Table,
    UsageError,
)
from diptych.features import portable
from diptych.features.visual import early, unlike
from diptych.methods.edit.clipinverter import CLIPInverter, FittedCLIPInverter, _Training, added, inverted
from tests.support.pictures import Pictures, picture
from tests.support.refused import refused
from tests.support.small_clip import small_clip

SHORT: dict[str, Any] = {"steps": 2, "refine": 1, "batch": 4, "groups": 8, "width": 8, "rate": 1e-2}
PHOTOS = Pictures(tuple(picture(k, k) for k in range(5)))
CAPTIONS = Column("captions", [("a red circle",), ("a blue star", "a star"), ("a dog",), ("a cat",), ("a cup",)])
EVIDENCE = Evidence(train=Table(PHOTOS, {"captions": CAPTIONS}))
GENERATOR = load_generator("small")[0]
ASK = EditAsk("", "a blue star", images=PHOTOS)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    vit = small_clip(tmp_path_factory.mktemp("clip") / "vit")
    return Kit({"main": vit, "generator": GENERATOR, "maps": load_maps("small")})


@pytest.fixture(scope="module")
def fitted(kit: Kit) -> FittedCLIPInverter:
    return CLIPInverter(**SHORT).fit(kit, EVIDENCE, Run(seed=1))


def test_an_edit_against_its_steps_one_by_one(fitted: FittedCLIPInverter) -> None:
    found = fitted.edit(ASK, Run(batch=2))
    text, maps, nets = fitted.backbone.text, fitted.maps, fitted.networks(Run()).eval()
    with torch.no_grad():
        e = text.encode(text.inputs(["a blue star"]))
        for i in range(5):
            image = PHOTOS[i].resize((32, 32), 2)  # bilinear
            x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
            c = maps.maps(x)
            w = maps.mean + maps.codes(c)
            changed = w + fitted.method.scale * maps.codes(
                tuple(net(m, e) for net, m in zip(nets["adapters"].each, c, strict=True))
            )
            pulled = changed.clone()
            for k, net in enumerate(nets["refinement"].each):
                share = 0.9 * nets["refinement"].pull[k]
                pulled[:, k + 1] = (1 - share) * changed[:, k + 1] + share * net(e)
            styles = GENERATOR.styles(changed)  # type: ignore[attr-defined]
            styles = replace(styles, s=GENERATOR.styles(pulled).s)  # type: ignore[attr-defined]
            torch.testing.assert_close(found.after[i], GENERATOR.synthesise(styles)[0], rtol=1e-3, atol=1e-4)
            plain = GENERATOR.synthesise(GENERATOR.styles(w))[0]  # type: ignore[attr-defined]
            torch.testing.assert_close(found.before[i], plain, rtol=1e-3, atol=1e-4)
            error = float((plain - x[0]).square().mean())
            assert found.facts[i]["inversion_error"] == pytest.approx(error, abs=2e-6)


def test_limits_strength_0_is_the_inversion_and_a_pull_of_0_the_first_training(fitted: FittedCLIPInverter) -> None:
    still = fitted.edit(replace(ASK, strength=0.0), Run())
    assert torch.equal(torch.stack(list(still.after)), torch.stack(list(still.before)))
    assert still.change is not None
    assert not still.change.any()
    loose = replace(
        fitted, weights={n: torch.zeros_like(t) if n.endswith("pull") else t for n, t in fitted.weights.items()}
    )
    first = replace(fitted, method=replace(fitted.method, refine=0))
    ends = [f.edit(ASK, Run()).after for f in (loose, first)]
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert not torch.equal(ends[0][0], fitted.edit(ASK, Run()).after[0])
    none = fitted.edit(EditAsk("", "a dog", images=Pictures(())), Run())
    assert len(none.after) == len(none.before) == len(none.facts) == 0


def test_losses_of_both_trainings_against_their_parts(fitted: FittedCLIPInverter) -> None:
    method = replace(fitted.method, mismatch=1.0)
    some = replace(fitted, method=method)
    told = {"a": torch.randn(16, generator=torch.Generator().manual_seed(0)), "b": torch.ones(16)}
    told = {
        k: v.new_zeros(fitted.backbone.text.dim) + v[0] + torch.arange(fitted.backbone.text.dim)
        for k, v in told.items()
    }
    training = _Training(some, told, Run())
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    e = torch.stack([told["a"], told["b"].flip(0)])
    clock = Clock(0, 1, 0, torch.Generator().manual_seed(0))
    there = training.losses({"x": x, "e": e}, "there", clock)
    w = inverted(some, training.nets, x, e.roll(1, 0))[1]
    y = GENERATOR.synthesise(GENERATOR.styles(w))  # type: ignore[attr-defined]
    local, whole = unlike(early(fitted.backbone, x), early(fitted.backbone, y))
    image = fitted.backbone.image

    def unit(t: torch.Tensor) -> np.ndarray:
        t = torch.nn.functional.interpolate(t, size=image.size, mode="bicubic", antialias=True).clamp(0, 1)
        v = image.encode(image.inputs(list(t))).detach().numpy()
        return v / np.linalg.norm(v, axis=1, keepdims=True)

    step, words = unit(y) - unit(x), (e / e.norm(dim=1, keepdim=True)).numpy()
    d = words[::-1] - words
    cosine = (step * d).sum(1) / np.linalg.norm(step, axis=1) / np.linalg.norm(d, axis=1)
    expected = {
        "identity": 0.1 * whole.mean().item(),
        "squared": 4 * (x - y).square().mean().item(),
        "perceptual": 0.6 * local.mean().item(),
        "latent": 0.005 * (w - fitted.maps.mean).flatten(1).norm(dim=1).mean().item(),
        "direction": float(np.mean(1 - cosine)),
    }
    assert {k: v.item() for k, v in there.items()} == pytest.approx(expected, rel=1e-3)
    back = training.losses({"x": x, "e": e}, "back", clock)
    assert set(back) == {f"back_{name}" for name in expected}
    assert all(t.requires_grad for t in (*there.values(), *back.values()))
    training.refining = True
    assert set(training.losses({"x": x, "e": e}, "there", clock)) == {"identity", "squared", "perceptual", "direction"}
    assert all(name.startswith("refinement.") for name in training.groups()[0].names)
    own = _Training(replace(some, method=replace(method, mismatch=0.0)), told, Run())
    assert "direction" not in own.losses({"x": x, "e": e}, "there", clock)


def test_each_training_moves_its_own_weights(kit: Kit) -> None:
    method = CLIPInverter(**SHORT)
    fresh = method.untrained(kit, Run(seed=1)).weights
    both, first = (replace(method, refine=n).fit(kit, EVIDENCE, Run(seed=1)).weights for n in (1, 0))
    for name, t in first.items():
        assert torch.equal(t, fresh[name]) is name.startswith("refinement."), name
        if name.startswith("adapters."):
            assert torch.equal(both[name], t)
    assert not torch.equal(both["refinement.pull"], first["refinement.pull"])


def test_a_seed_fixes_it_and_nothing_else_moves(kit: Kit, fitted: FittedCLIPInverter, tmp_path: Path) -> None:
    backbone = kit.need(Backbone)
    before = {k: v.clone() for k, v in backbone.module().state_dict().items()}
    state = torch.get_rng_state()
    with torch.no_grad():
        again = CLIPInverter(**SHORT).fit(kit, EVIDENCE, Run(seed=1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in backbone.module().state_dict().items())
    assert all(torch.equal(t, again.weights[n]) for n, t in fitted.weights.items())
    portable.save(fitted, tmp_path / "kept")
    ends = [f.edit(ASK, Run()).after for f in (fitted, portable.load(tmp_path / "kept", kit))]
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    alone = fitted.edit(replace(ASK, images=Pictures(PHOTOS.images[2:3])), Run()).after[0]
    torch.testing.assert_close(alone, ends[0][2], rtol=1e-3, atol=1e-4)


def test_added_is_the_inversion_plus_a_share() -> None:
    assert added(torch.ones(1, 2, 3), torch.full((1, 2, 3), 2.0), 0.5).tolist() == [[[2.0] * 3] * 2]


def test_bad_input_is_named(kit: Kit, fitted: FittedCLIPInverter) -> None:
    refused(CLIPInverter, {"steps": 0}, {"batch": 1}, {"rate": 0.0}, {"mismatch": 1.5}, {"weights": (1.0,)})
    refused(CLIPInverter, {"refine": -1}, {"scale": 0.0}, {"cycle": -1.0}, {"groups": 0}, {"refine_weights": ()})
    method = CLIPInverter(**SHORT)
    with pytest.raises(UsageError, match="groups must be a divisor of the maps' widths 32, 64, 64, got 7"):
        replace(method, groups=7).fit(kit, EVIDENCE, Run())
    with pytest.raises(MissingEvidence, match="learns from images with captions"):
        method.fit(kit, Evidence(), Run())
    empty = Table(PHOTOS, {"captions": Column("captions", [("a",), ("",), ("c",), ("d",), ("e",)])})
    with pytest.raises(DataError, match="picture 1 has no caption"):
        method.fit(kit, Evidence(train=empty), Run())
    for name, said in (("main", "Backbone"), ("generator", "LatentGenerator"), ("maps", "MapInverter")):
        with pytest.raises(MissingPart, match=f"needs a {said} named"):
            method.fit(Kit({n: p for n, p in kit.parts.items() if n != name}), EVIDENCE, Run())
    with pytest.raises(MissingPart, match="LatentGenerator"):
        method.fit(Kit({**kit.parts, "generator": FactorGenerator(32)}), EVIDENCE, Run())
    with pytest.raises(UsageError, match="begins with pictures"):
        fitted.edit(EditAsk("", "a dog"), Run())
    with pytest.raises(UsageError, match="takes no mask"):
        fitted.edit(replace(ASK, masks=[np.ones((12, 12), bool)] * 5), Run())
