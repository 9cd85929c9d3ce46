"""What every editor owes its user, multiplied over the catalog, on a small ViT CLIP and a small factor generator."""

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
from diptych.core.backbone import Backbone
from diptych.core.data import Evidence
from diptych.core.edit import EditAsk, Edited, Editor
from diptych.core.errors import MissingPart, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.features import portable
from tests.support.pictures import picture
from tests.support.small_clip import small_clip

CARDS = [
    card for card in catalog.cards() if card["verb"] == "edit" and set(card["needs"]["parts"]) <= {"StyleGenerator"}
]
SLUGS = [card["slug"] for card in CARDS]
ROWS = [(card["slug"], label) for card in CARDS for label in card["variants"]]
SHORT = {"bank": 12, "passes": 2, "batch": 4, "width": 8, "probes": 2}
"""Small settings: a contract does not ask how good a system is."""
GENERATOR = FactorGenerator(16, ("red", "blue"), ("circle", "square"))
STYLES = GENERATOR.sample(3, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def make(slug: str, label: str | None = None) -> Editor:
    method = catalog.find(slug)
    assert issubclass(method, Editor)
    short = {name: value for name, value in SHORT.items() if name in getattr(method, "__dataclass_fields__", {})}
    return method(**{**({} if label is None else method.card.variants[label]), **short})


def edited(
    method: Editor, backbone: Backbone, seed: int = 0, source: str = "a red circle", target: str = "a blue circle"
) -> Edited:
    kit, run = Kit({"main": backbone, "generator": GENERATOR}), Run(seed=seed)
    return method.fit(kit, Evidence(), run).edit(EditAsk(source, target, styles=STYLES), run)


@pytest.mark.parametrize(("slug", "label"), ROWS)
def test_every_row_gives_pictures_in_range(slug: str, label: str, vit: Backbone) -> None:
    found = edited(make(slug, label), vit)
    for pictures in (found.before, found.after):
        assert pictures.shape == (3, 3, 16, 16)
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
    assert torch.equal(*found)
    assert torch.equal(STYLES.s, styles)
    assert all(torch.equal(v, weights[k]) for k, v in vit.module().state_dict().items())


@pytest.mark.parametrize("slug", SLUGS)
def test_the_same_words_change_nothing(slug: str, vit: Backbone) -> None:
    found = edited(make(slug), vit, target="a red circle")
    assert torch.equal(found.before, found.after)


@pytest.mark.parametrize("slug", SLUGS)
def test_strength_0_gives_the_input_back_and_bad_requests_are_refused(slug: str, vit: Backbone) -> None:
    method = make(slug)
    fitted = method.fit(Kit({"main": vit, "generator": GENERATOR}), Evidence(), Run())
    if method.takes.strength:
        found = fitted.edit(EditAsk("a red circle", "a blue circle", styles=STYLES, strength=0.0), Run())
        assert torch.equal(found.before, found.after)
    if method.takes.reference == "no":
        with pytest.raises(UsageError, match="takes no reference picture"):
            fitted.edit(EditAsk("red", "blue", styles=STYLES, reference=picture(0, 0)), Run())
    with pytest.raises(UsageError, match="words for what"):
        fitted.edit(EditAsk("red", "", styles=STYLES), Run())


@pytest.mark.parametrize("slug", SLUGS)
def test_a_picture_does_not_depend_on_the_others(slug: str, vit: Backbone) -> None:
    fitted = make(slug).fit(Kit({"main": vit, "generator": GENERATOR}), Evidence(), Run())
    whole = fitted.edit(EditAsk("red", "blue", styles=STYLES), Run()).after
    alone = [fitted.edit(EditAsk("red", "blue", styles=STYLES.take(slice(i, i + 1))), Run()).after for i in range(3)]
    torch.testing.assert_close(torch.cat(alone), whole, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("slug", SLUGS)
def test_missing_parts_are_named(slug: str, vit: Backbone) -> None:
    for parts in ({"main": vit}, {"generator": GENERATOR}):
        with pytest.raises(MissingPart, match=r"needs a (StyleGenerator|Backbone) named"):
            make(slug).fit(Kit(parts), Evidence(), Run())


@pytest.mark.parametrize("slug", SLUGS)
def test_state_round_trip(slug: str, vit: Backbone, tmp_path: Path) -> None:
    kit = Kit({"main": vit, "generator": GENERATOR})
    fitted = make(slug).fit(kit, Evidence(), Run())
    assert dataclasses.is_dataclass(fitted)
    portable.save(fitted, tmp_path / "fitted")
    assert "diptych." not in (tmp_path / "fitted" / "fitted.json").read_text()
    ask = EditAsk("red", "blue", styles=STYLES)
    assert torch.equal(portable.load(tmp_path / "fitted", kit).edit(ask, Run()).after, fitted.edit(ask, Run()).after)


@pytest.mark.parametrize("slug", SLUGS)
def test_no_picture_gives_no_picture(slug: str, vit: Backbone) -> None:
    fitted = make(slug).fit(Kit({"main": vit, "generator": GENERATOR}), Evidence(), Run())
    found = fitted.edit(EditAsk("red", "blue", styles=STYLES.take(slice(0, 0))), Run())
    assert found.before.shape == found.after.shape == (0, 3, 16, 16)
