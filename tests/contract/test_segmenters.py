"""What every segmenter owes its user, multiplied over the catalog, on a small ViT CLIP."""

from __future__ import annotations

import dataclasses
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych import catalog
from diptych.backbones.mask_models.merged_cells import MergedCells
from diptych.backbones.mask_models.sam import SamMasks
from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    Evidence,
    Kit,
    MissingHook,
    MissingPart,
    Regions,
    Run,
    Segmenter,
    Table,
)
from diptych.data.labelled import NamedTable
from diptych.features import portable
from diptych.nn.dense.label_maps import Windows, dense_map, label_map
from diptych.nn.dense.mask_queries import MaskLayout
from diptych.nn.dense.segments import panoptic
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, picture
from tests.support.sam import small_sam
from tests.support.small_clip import small_clip

PARTS = {"Space": "teacher", "MaskProposer": "proposer", "PromptableMasks": "masks"}
"""Parts -> the name that they go by. The small CLIP teaches, and a small SAM of random weights draws."""
SAM = SamMasks(small_sam())
SLUGS = [c["slug"] for c in catalog.cards() if c["verb"] == "segment" and set(c["needs"]["parts"]) <= set(PARTS)]
MASKS_OF = {"side": 32, "crop": 32, "layout": MaskLayout(queries=4, encoder=1, decoder=1, points=16)}
SHORT: dict[str, dict[str, Any]] = {
    "fc-clip": {**MASKS_OF, "steps": 2},
    "maft-plus": {**MASKS_OF, "steps": 2, "tuning": 2, "width": 8},
    "clip-dinoiser": {"windows": Windows(32, 32, 16), "photos": 3, "steps": 2},
    "trident": {"windows": Windows(40, 32, 16)},
    "ovseg": {"side": 32, "epochs": 1, "regions": 4},
    "sam-clip": {"side": 64, "taught_side": 64, "prompts": 2, "batch": 4, "probe_epochs": 1, "epochs": 1, "hidden": 24},
}
"""Arguments that make a training short."""
ROWS = [(c["slug"], label) for c in catalog.cards() if c["slug"] in SLUGS for label in c["variants"]]
NAMES = ClassNames(("cat", "dog", "red barn"))
UNLABELLED = Pictures(tuple(picture(k, k) for k in range(4)))
CAPTIONS = Column("captions", (("A cat on a bench.",), ("A man with a dog.",), ("Two boats.",), ("A red barn.",)))
MASKS = Column("mask", tuple((np.arange(12) // 6 + np.zeros((12, 1))).astype(np.uint8) for _ in range(4)))
EVIDENCE: Evidence[Image.Image] = Evidence(
    train=NamedTable(UNLABELLED, {"mask": MASKS}, ("cat", "white horse")),
    unlabelled=UNLABELLED,
    auxiliary=Table(UNLABELLED, {"captions": CAPTIONS}),
)
"""Photos with label maps, without labels, and with captions."""


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


@pytest.fixture(scope="module")
def photos() -> Pictures:
    rng = np.random.default_rng(0)
    sizes = ((30, 60), (47, 21), (16, 16))
    return Pictures(tuple(Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes))


def make(slug: str, label: str | None = None) -> Segmenter:
    method = catalog.find(slug)
    assert issubclass(method, Segmenter)
    return method(**SHORT.get(slug, {}), **({} if label is None else method.card.variants[label]))


def parts(backbone: Backbone) -> Kit:
    proposer = MergedCells(side=12, count=6, finest=4)
    return Kit({"main": backbone, "teacher": backbone, "proposer": proposer, "masks": SAM})


def regions(
    method: Segmenter, backbone: Backbone, photos: Pictures, names: ClassNames = NAMES, seed: int = 0
) -> list[Regions]:
    run = Run(seed=seed)
    return list(method.fit(parts(backbone), names, EVIDENCE, run).regions(photos, run))


@pytest.mark.parametrize(("slug", "label"), ROWS)
def test_every_row_gives_one_map_an_image(slug: str, label: str, vit: Backbone, photos: Pictures) -> None:
    found = regions(make(slug, label), vit, photos)
    assert len(found) == len(photos)
    for r, photo in zip(found, photos.images, strict=True):
        assert r.size == (photo.height, photo.width)
        assert dense_map(r).shape == (3, *r.grid)
        assert label_map(r).shape == r.size
        assert r.scores.values.dtype == torch.float32
        assert not r.scores.values.requires_grad
        assert torch.isfinite(r.scores.values).all()
        if r.masks is not None:
            assert r.masks.shape == (len(r.scores.values), *r.grid)
            assert 0 <= r.masks.min() <= r.masks.max() <= 1
            assert r.scores.kind == "log_prob"
        assert panoptic(r, (True, False, True)).ids.shape == r.size


@pytest.mark.parametrize("slug", SLUGS)
def test_same_seed_same_bits_and_images_do_not_mix(slug: str, vit: Backbone, photos: Pictures) -> None:
    together = regions(make(slug), vit, photos, seed=5)
    torch.rand(3)
    for image, r in zip(photos.images, together, strict=True):
        (alone,) = regions(make(slug), vit, Pictures((image,)), seed=5)
        assert torch.equal(alone.scores.values, r.scores.values)


@pytest.mark.parametrize("slug", SLUGS)
def test_permuting_the_names_permutes_the_maps(slug: str, vit: Backbone, photos: Pictures) -> None:
    order = [2, 0, 1]
    moved = dataclasses.replace(NAMES, names=tuple(NAMES.names[k] for k in order))
    for a, b in zip(regions(make(slug), vit, photos), regions(make(slug), vit, photos, moved), strict=True):
        torch.testing.assert_close(dense_map(b), dense_map(a)[order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("slug", SLUGS)
def test_global_state_weights_and_grad_mode_are_untouched(slug: str, vit: Backbone, photos: Pictures) -> None:
    def state() -> list[Any]:
        dice = [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]  # noqa: NPY002
        return [*dice, torch.get_num_threads(), list(warnings.filters)]

    weights = {k: v.clone() for k, v in vit.module().state_dict().items()}
    for graded in (True, False):
        with torch.set_grad_enabled(graded):
            before = state()
            regions(make(slug), vit, photos)
            assert state() == before
            assert torch.is_grad_enabled() is graded
    assert all(torch.equal(v, weights[k]) for k, v in vit.module().state_dict().items())


@pytest.mark.parametrize("slug", SLUGS)
def test_state_round_trip(slug: str, vit: Backbone, photos: Pictures, tmp_path: Path) -> None:
    kit = parts(vit)
    fitted = make(slug).fit(kit, NAMES, EVIDENCE, Run())
    portable.save(fitted, tmp_path / "fitted")
    assert "diptych." not in (tmp_path / "fitted" / "fitted.json").read_text()
    again = portable.load(tmp_path / "fitted", kit)
    for a, b in zip(fitted.regions(photos, Run()), again.regions(photos, Run()), strict=True):
        assert torch.equal(a.scores.values, b.scores.values)


@pytest.mark.parametrize("slug", SLUGS)
def test_what_is_missing_is_named(slug: str) -> None:
    with pytest.raises(MissingPart, match="Backbone named 'main'"):
        make(slug).fit(Kit(), NAMES, Evidence(), Run())
    if "dense" not in make(slug).card.needs.hooks:
        return
    with pytest.raises(MissingHook, match="small"):
        make(slug).fit(parts(SmallBackbone()), NAMES, EVIDENCE, Run())


@pytest.mark.parametrize("slug", SLUGS)
def test_no_image_gives_nothing(slug: str, vit: Backbone) -> None:
    assert regions(make(slug), vit, Pictures(())) == []
