"""What every editor owes its user, multiplied over the catalog, on a small ViT CLIP and small parts: a factor
generator, a denoiser with random weights, a segmenter. Each begins with the first thing that it takes.
"""

from __future__ import annotations

import dataclasses
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diptych import catalog
from diptych.backbones.generators.factors import FactorGenerator
from diptych.core import Backbone, EditAsk, Edited, Editor, Evidence, Kit, MissingPart, Run, Subset, UsageError
from diptych.features import portable
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.nn.dense.label_maps import Windows
from tests.support.diffusion import random_diffusion
from tests.support.pictures import Pictures, picture
from tests.support.small_clip import small_clip

PARTS = {"StyleGenerator", "TextDiffusion", "Segmenter"}
CARDS = [
    card
    for card in catalog.cards()
    if card["verb"] == "edit" and set(card["needs"]["parts"]) <= PARTS and not card["needs"]["evidence"]
]
SLUGS = [card["slug"] for card in CARDS]
ROWS = [(card["slug"], label) for card in CARDS for label in card["variants"]]
SHORT = {
    "bank": 12,
    "passes": 2,
    "batch": 4,
    "width": 8,
    "probes": 2,
    "steps": 2,
    "side": 16,
    "crops": 2,
    "crop": 0.5,
}
"""Small settings: a contract does not ask how good a system is."""
GENERATOR = FactorGenerator(16, ("red", "blue"), ("circle", "square"))
STYLES = GENERATOR.sample(3, torch.Generator().manual_seed(0))
PHOTOS = Pictures(tuple(picture(k, k) for k in range(3)))


@dataclasses.dataclass(frozen=True)
class Clips(Pictures):
    """Three clips of two frames."""

    def __getitem__(self, index: int) -> Any:
        return tuple(picture(index, index + k) for k in range(2))


def ask_of(method: Editor, source: str = "a red circle", target: str = "a blue circle", **more: Any) -> EditAsk:
    """A request for three things that an editor can answer; without a source, the words name an object."""
    given: dict[str, Any] = {
        "drawn": {"styles": STYLES},
        "pictures": {"images": PHOTOS},
        "clips": {"clips": Clips(PHOTOS.images)},
        "nothing": {"count": 3},
    }[method.takes.start[0]]
    words = target if method.takes.source else f"circle: {target}"
    needed = {"reference": picture(0, 0)} if method.takes.reference == "must" else {}
    return EditAsk(source, words, **{**given, **needed, **more})


def kit_of(backbone: Backbone) -> Kit:
    parts: dict[str, Any] = {"generator": GENERATOR, "diffusion": random_diffusion(backbone)}
    return Kit({"main": backbone, "segmenter": MaskCLIP(windows=Windows(32, 32, 32)), **parts})


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def make(slug: str, label: str | None = None) -> Editor:
    method = catalog.find(slug)
    assert issubclass(method, Editor)
    short = {name: value for name, value in SHORT.items() if name in getattr(method, "__dataclass_fields__", {})}
    return method(**{**({} if label is None else method.card.variants[label]), **short})


def edited(method: Editor, backbone: Backbone, seed: int = 0, **asked: Any) -> Edited:
    run = Run(seed=seed)
    return method.fit(kit_of(backbone), Evidence(), run).edit(ask_of(method, **asked), run)


def equal(first: Any, second: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("slug", "label"), ROWS)
def test_every_row_gives_pictures_in_range(slug: str, label: str, vit: Backbone) -> None:
    found = edited(make(slug, label), vit)
    assert len(found.after) == 3
    for pictures in (*found.before, *found.after):
        assert pictures.shape[-3] == 3
        assert not pictures.requires_grad
        assert 0 <= float(pictures.min()) <= float(pictures.max()) <= 1
    assert found.change is None or found.change.shape == STYLES.s.shape


@pytest.mark.parametrize("slug", SLUGS)
def test_same_seed_same_bits_and_nothing_else_is_touched(slug: str, vit: Backbone) -> None:
    def state() -> list[Any]:
        dice = [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]  # noqa: NPY002
        return [*dice, torch.get_num_threads(), list(warnings.filters)]

    weights, styles = {k: v.clone() for k, v in vit.module().state_dict().items()}, STYLES.s.clone()
    found = []
    for graded in (True, False):
        with torch.set_grad_enabled(graded):
            before = state()
            found.append(edited(make(slug), vit, seed=3).after)
            assert state() == before
            assert torch.is_grad_enabled() is graded
    assert equal(*found)
    assert torch.equal(STYLES.s, styles)
    assert all(torch.equal(v, weights[k]) for k, v in vit.module().state_dict().items())


@pytest.mark.parametrize("slug", [s for s in SLUGS if catalog.find(s, Editor).takes.source])
def test_the_same_words_change_nothing(slug: str, vit: Backbone) -> None:
    found = edited(make(slug), vit, target="a red circle")
    assert equal(found.before, found.after)


@pytest.mark.parametrize("slug", SLUGS)
def test_strength_0_gives_the_input_back_and_bad_requests_are_refused(slug: str, vit: Backbone) -> None:
    method = make(slug)
    fitted = method.fit(kit_of(vit), Evidence(), Run())
    if method.takes.strength:
        found = fitted.edit(ask_of(method, strength=0.0), Run())
        assert equal(found.before, found.after)
    if method.takes.reference == "no":
        with pytest.raises(UsageError, match="takes no reference picture"):
            fitted.edit(ask_of(method, reference=picture(0, 0)), Run())
    with pytest.raises(UsageError, match="words for what"):
        fitted.edit(dataclasses.replace(ask_of(method), target=""), Run())


@pytest.mark.parametrize("slug", SLUGS)
def test_a_picture_does_not_depend_on_the_others(slug: str, vit: Backbone) -> None:
    method = make(slug)
    fitted, whole = method.fit(kit_of(vit), Evidence(), Run()), ask_of(method)
    parts: list[dict[str, Any]] = [
        {"styles": whole.styles and whole.styles.take(slice(i, i + 1)), "images": whole.images and Subset(PHOTOS, (i,))}
        for i in range(3)
    ]
    if whole.clips is not None or whole.start == "nothing":
        pytest.skip("clips are dear, and pictures from words are drawn together")
    alone = [fitted.edit(dataclasses.replace(whole, **part), Run()).after[0] for part in parts]
    for one, other in zip(alone, fitted.edit(whole, Run()).after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("slug", SLUGS)
def test_missing_parts_are_named(slug: str, vit: Backbone) -> None:
    method, whole = make(slug), kit_of(vit).parts
    names = {"StyleGenerator": "generator", "TextDiffusion": "diffusion", "Segmenter": "segmenter"}
    for kind, name in (("Backbone", "main"), *((k, names[k]) for k in method.card.needs.parts)):
        with pytest.raises(MissingPart, match=f"needs a {kind} named"):
            method.fit(Kit({n: p for n, p in whole.items() if n != name}), Evidence(), Run())


@pytest.mark.parametrize("slug", SLUGS)
def test_state_round_trip(slug: str, vit: Backbone, tmp_path: Path) -> None:
    kit, method = kit_of(vit), make(slug)
    fitted = method.fit(kit, Evidence(), Run())
    assert dataclasses.is_dataclass(fitted)
    portable.save(fitted, tmp_path / "fitted")
    assert "diptych." not in (tmp_path / "fitted" / "fitted.json").read_text()
    again = portable.load(tmp_path / "fitted", kit)
    assert equal(again.edit(ask_of(method), Run()).after, fitted.edit(ask_of(method), Run()).after)


@pytest.mark.parametrize("slug", SLUGS)
def test_no_picture_gives_no_picture(slug: str, vit: Backbone) -> None:
    method = make(slug)
    whole = ask_of(method)
    if whole.styles is None and whole.images is None:
        pytest.skip("this one begins with clips or with words alone")
    none = {"styles": whole.styles and whole.styles.take(slice(0, 0)), "images": whole.images and Subset(PHOTOS, ())}
    found = method.fit(kit_of(vit), Evidence(), Run()).edit(dataclasses.replace(whole, **none), Run())
    assert len(found.before) == len(found.after) == 0
