"""What every detector owes its user, multiplied over the catalog, on a small ViT CLIP."""

from __future__ import annotations

import random
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diptych import catalog
from diptych.backbones.sources.load import load
from diptych.core import Anomaly, Backbone, DataError, Detector, Evidence, Kit, MissingEvidence, MissingPart, Run
from diptych.features import portable
from tests.support.checkpoints import transformers_folder
from tests.support.pictures import Pictures
from tests.support.scratches import scratched
from tests.support.small_clip import small_clip

CARDS = [card for card in catalog.cards() if card["verb"] == "detect"]
SLUGS = [card["slug"] for card in CARDS]
ROWS = [(card["slug"], label) for card in CARDS for label in card["variants"]]
NEEDS = [(card["slug"], name) for card in CARDS for name in card["needs"]["evidence"]]
EVIDENCE: Evidence[Any] = Evidence(train=scratched(6, 0, seed=1), auxiliary=scratched(3, 3, seed=2))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


@pytest.fixture(scope="module")
def photos() -> Pictures:
    items = scratched(2, 2, seed=3).items
    assert isinstance(items, Pictures)
    return items


def make(slug: str, label: str = "") -> Detector:
    """Short trainings: a contract does not ask how good a system is."""
    method = catalog.find(slug)
    assert issubclass(method, Detector)
    short = {"epochs": 1} if "epochs" in getattr(method, "__dataclass_fields__", {}) else {}
    return method(**{**method.card.variants[label], **short})


def found(method: Detector, backbone: Backbone, photos: Any, seed: int = 0) -> list[Anomaly]:
    run = Run(seed=seed)
    return list(method.fit(Kit({"main": backbone}), EVIDENCE, run).detect(photos, run))


@pytest.mark.parametrize(("slug", "label"), ROWS)
def test_every_row_gives_one_finite_score_an_image(slug: str, label: str, vit: Backbone, photos: Pictures) -> None:
    anomalies = found(make(slug, label), vit, photos)
    assert len(anomalies) == len(photos)
    for a, photo in zip(anomalies, photos.images, strict=True):
        assert isinstance(a.score, float)
        assert np.isfinite(a.score)
        if a.map is not None:
            assert a.size == (photo.height, photo.width)
            assert a.map.dim() == 2
            assert a.map.dtype == torch.float32
            assert not a.map.requires_grad
            assert torch.isfinite(a.map).all()


@pytest.mark.parametrize("slug", SLUGS)
def test_same_seed_same_bits_and_images_do_not_mix(slug: str, vit: Backbone, photos: Pictures) -> None:
    together = found(make(slug), vit, photos, seed=5)
    torch.rand(3)
    again = found(make(slug), vit, photos, seed=5)
    for a, b in zip(together, again, strict=True):
        assert a.score == b.score
        assert a.map is None or (b.map is not None and torch.equal(a.map, b.map))
    run = Run(seed=5)
    (last,) = make(slug).fit(Kit({"main": vit}), EVIDENCE, run).detect(Pictures(photos.images[-1:]), run)
    assert last.score == pytest.approx(together[-1].score, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("slug", SLUGS)
def test_global_state_weights_and_grad_mode_are_untouched(slug: str, vit: Backbone, photos: Pictures) -> None:
    def state() -> list[Any]:
        dice = [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]  # noqa: NPY002
        return [*dice, torch.get_num_threads(), list(warnings.filters)]

    weights = {k: v.clone() for k, v in vit.module().state_dict().items()}
    flags = [p.requires_grad for p in vit.module().parameters()]
    for graded in (True, False):
        with torch.set_grad_enabled(graded):
            before = state()
            found(make(slug), vit, photos)
            assert state() == before
            assert torch.is_grad_enabled() is graded
    assert all(torch.equal(v, weights[k]) for k, v in vit.module().state_dict().items())
    assert [p.requires_grad for p in vit.module().parameters()] == flags


@pytest.mark.parametrize("slug", SLUGS)
def test_state_round_trip(slug: str, vit: Backbone, photos: Pictures, tmp_path: Path) -> None:
    kit = Kit({"main": vit})
    fitted = make(slug).fit(kit, EVIDENCE, Run())
    portable.save(fitted, tmp_path / "fitted")
    assert "diptych." not in (tmp_path / "fitted" / "fitted.json").read_text()
    again = portable.load(tmp_path / "fitted", kit)
    for a, b in zip(fitted.detect(photos, Run()), again.detect(photos, Run()), strict=True):
        assert a.score == b.score


@pytest.mark.parametrize("slug", SLUGS)
def test_no_image_gives_nothing_and_a_missing_backbone_is_named(slug: str, vit: Backbone) -> None:
    assert found(make(slug), vit, Pictures(())) == []
    with pytest.raises(MissingPart, match=r"(Backbone|Space) named 'main'"):
        make(slug).fit(Kit(), EVIDENCE, Run())


@pytest.mark.parametrize(("slug", "name"), NEEDS)
def test_missing_or_useless_evidence_is_named(slug: str, name: str, vit: Backbone) -> None:
    with pytest.raises(MissingEvidence, match=name):
        make(slug).fit(Kit({"main": vit}), replace(EVIDENCE, **{name: None}), Run())
    only = scratched(0, 3, seed=4)
    with pytest.raises(DataError, match="normal"):
        make(slug).fit(Kit({"main": vit}), replace(EVIDENCE, **{name: only}), Run())


@pytest.mark.parametrize("slug", ["winclip-style", "feature-memory"])
@pytest.mark.parametrize("family", ["resnet", "convnext", "siglip", "hf clip"])
def test_maps_come_from_towers_and_dense_maps_of_all_kinds(slug: str, family: str, tmp_path: Path) -> None:
    if family == "hf clip":
        backbone = load(f"local:{transformers_folder(tmp_path / 'hf', 'clip')}")
    else:
        backbone = small_clip(tmp_path / "own", family)
    (anomaly,) = found(make(slug), backbone, scratched(0, 1, seed=3).items)
    assert anomaly.map is not None
    assert torch.isfinite(anomaly.map).all()
