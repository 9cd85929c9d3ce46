"""What runs on the CPU runs on a GPU: no system mixes tensors of both, multiplied over the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from diptych.core.backbone import Backbone
from diptych.core.kit import Kit
from diptych.core.run import Run
from tests.contract import (
    test_detectors,
    test_editors,
    test_extenders,
    test_methods,
    test_other_roles,
    test_retrievers,
    test_segmenters,
    test_trainings,
)
from tests.support.pretended_gpu import PretendedGPU
from tests.support.small_clip import small_clip

ROLES = (
    test_detectors,
    test_editors,
    test_extenders,
    test_methods,
    test_other_roles,
    test_retrievers,
    test_segmenters,
    test_trainings,
)
MAKERS = {test_methods: "backbone_for", test_trainings: "small", test_extenders: "VisualBackbone"}
"""Contract -> what makes its backbone."""


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in ROLES:
        monkeypatch.setattr(module, "Run", _on_gpu(module))
    for module, name in MAKERS.items():
        monkeypatch.setattr(module, name, _moved(module, name))
    with PretendedGPU():
        yield


def _on_gpu(module: ModuleType):
    real = module.Run
    return lambda **how: real(**{"device": "cuda", **how})


def _moved(module: ModuleType, name: str):
    real = getattr(module, name)

    def make(*given, **how) -> Backbone:
        backbone = real(*given, **how)
        backbone.module().to("cuda")
        return backbone

    return make


@pytest.fixture
def vit(tmp_path: Path) -> Backbone:
    backbone = small_clip(tmp_path / "vit")
    backbone.module().to("cuda")
    return backbone


@pytest.mark.parametrize(("slug", "variant"), test_trainings.ROWS)
def test_trainings_run(slug: str, variant: str) -> None:
    test_trainings.test_every_row_trains_and_gives_a_space_of_the_same_shape(slug, variant)


@pytest.mark.parametrize(("slug", "label"), test_methods.ROWS)
def test_classifiers_run(slug: str, label: str) -> None:
    test_methods.test_every_row_of_the_board_fits_and_scores(slug, label)


@pytest.mark.parametrize(("slug", "label"), test_detectors.ROWS)
def test_detectors_run(slug: str, label: str, vit: Backbone) -> None:
    test_detectors.test_every_row_gives_one_finite_score_an_image(slug, label, vit, test_detectors.scratched(2, 2, seed=3).items)


@pytest.mark.parametrize(("slug", "label"), test_editors.ROWS)
def test_editors_run(slug: str, label: str, vit: Backbone) -> None:
    test_editors.test_every_row_gives_pictures_in_range(slug, label, vit)


@pytest.mark.parametrize(("slug", "label"), test_segmenters.ROWS)
def test_segmenters_run(slug: str, label: str, vit: Backbone) -> None:
    test_segmenters.test_every_row_gives_one_map_an_image(slug, label, vit, test_segmenters.UNLABELLED)


@pytest.mark.parametrize(("slug", "label"), test_extenders.ROWS)
def test_extenders_run(slug: str, label: str) -> None:
    test_extenders.test_every_row_encodes_its_samples(slug, label)


@pytest.mark.parametrize(("slug", "label"), test_retrievers.ROWS)
def test_retrievers_run(slug: str, label: str, vit: Backbone) -> None:
    fitted = test_retrievers.fit(slug, label, vit)
    fitted.against(test_retrievers.FOUND, Run(device="cuda"))(test_retrievers.FOUND)


@pytest.mark.parametrize(("slug", "label"), test_other_roles.ROWS)
def test_other_roles_run(slug: str, label: str, vit: Backbone) -> None:
    assert test_other_roles.answer(test_other_roles.make(slug, label), Kit({"main": vit}))
