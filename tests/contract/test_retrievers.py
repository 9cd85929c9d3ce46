"""What every retriever owes its user, multiplied over the catalog."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diptych import catalog
from diptych.core import Backbone, Evidence, FittedRetriever, Kit, MissingPart, Retriever, Run
from diptych.features import portable
from tests.support.record_work import records, table
from tests.support.small_clip import small_clip

CARDS = [card for card in catalog.cards() if card["verb"] == "retrieve"]
ROWS = [(card["slug"], label) for card in CARDS for label in card["variants"]]
FOUND, ENTITIES = records(4, 3)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def fit(slug: str, label: str, backbone: Backbone, seed: int = 0) -> FittedRetriever:
    method = catalog.find(slug)
    assert issubclass(method, Retriever)
    more = {"epochs": 1} if "epochs" in method.__dataclass_fields__ else {}  # type: ignore[attr-defined]
    evidence = Evidence(train=table(FOUND, ENTITIES), val=table(FOUND, ENTITIES))
    return method(**method.card.variants[label], **more).fit(Kit({"main": backbone}), evidence, Run(seed=seed))


@pytest.mark.parametrize(("slug", "label"), ROWS)
def test_every_row_scores_alike_twice_alone_and_in_any_order(slug: str, label: str, vit: Backbone) -> None:
    weights = {k: v.clone() for k, v in vit.module().state_dict().items()}
    dice = torch.get_rng_state()
    fitted = fit(slug, label, vit)
    scores = fitted.against(FOUND, Run())(FOUND)
    assert scores.shape == (12, 12)
    assert scores.dtype == torch.float32
    assert torch.isfinite(scores).all()
    assert not scores.requires_grad
    assert fitted.threshold is not None
    assert torch.equal(fit(slug, label, vit).against(FOUND, Run())(FOUND), scores)
    order = np.random.default_rng(0).permutation(12)
    moved = fitted.against(FOUND.take(order), Run())(FOUND.take(range(5)))
    torch.testing.assert_close(moved, scores[:5, order], rtol=1e-4, atol=1e-4)
    assert torch.equal(torch.get_rng_state(), dice)
    assert all(torch.equal(v, weights[k]) for k, v in vit.module().state_dict().items())


@pytest.mark.parametrize(
    ("slug", "label"), [r for r in ROWS if r != ("clippings", "")]
)  # trained towers are a space of their own
def test_state_round_trip(slug: str, label: str, vit: Backbone, tmp_path: Path) -> None:
    fitted = fit(slug, label, vit)
    portable.save(fitted, tmp_path / "fitted")
    assert "diptych." not in (tmp_path / "fitted" / "fitted.json").read_text()
    again = portable.load(tmp_path / "fitted", Kit({"main": vit}))
    assert again.threshold == fitted.threshold
    assert torch.equal(again.against(FOUND, Run())(FOUND), fitted.against(FOUND, Run())(FOUND))


@pytest.mark.parametrize("slug", [card["slug"] for card in CARDS if card["needs"]["hooks"]])
def test_a_missing_backbone_is_named(slug: str) -> None:
    method = catalog.find(slug)
    assert issubclass(method, Retriever)
    with pytest.raises(MissingPart, match="Backbone named 'main'"):
        method().fit(Kit(), Evidence(), Run())


@pytest.mark.parametrize(("slug", "label"), ROWS)
def test_nothing_against_something_and_something_against_nothing(slug: str, label: str, vit: Backbone) -> None:
    fitted = fit(slug, label, vit)
    assert fitted.against(FOUND, Run())(FOUND.take([])).shape == (0, 12)
    assert fitted.against(FOUND.take([]), Run())(FOUND).shape == (12, 0)
