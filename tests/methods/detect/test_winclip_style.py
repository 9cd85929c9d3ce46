from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diptych.core.backbone import Backbone
from diptych.core.data import Evidence
from diptych.core.errors import MissingHook
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.methods.detect.winclip_style import (
    STATES,
    TEMPLATES,
    WinCLIPStyle,
    harmonic_map,
    state_prompts,
    tower_windows,
    window_cells,
    windows_of,
)
from diptych.nn.dense.label_maps import squashed
from tests.support.dense_colours import DenseColours
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.scratches import scratched
from tests.support.small_clip import small_clip


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def test_prompts_are_states_times_templates() -> None:
    normal, anomalous = state_prompts("hazelnut")
    assert (len(normal), len(anomalous)) == (len(STATES[0]) * len(TEMPLATES), len(STATES[1]) * len(TEMPLATES))
    assert "a photo of a flawless hazelnut." in normal
    assert "a dark photo of a hazelnut with defect." in anomalous
    assert state_prompts("{}", "pair") == [["a photo of a normal {}."], ["a photo of a damaged {}."]]


def test_windows_are_all_squares_of_cells() -> None:
    assert window_cells((2, 3), 2).tolist() == [[0, 1, 3, 4], [1, 2, 4, 5]]
    assert window_cells((2, 3), 5).tolist() == [[0, 1, 2, 3, 4, 5]]
    assert len(window_cells((7, 7), 3)) == 25


def test_the_map_is_the_harmonic_mean_of_the_windows_that_hold_a_cell() -> None:
    grid, cells = (4, 5), window_cells((4, 5), 2)
    values = torch.rand(len(cells), generator=torch.Generator().manual_seed(0)) + 0.01
    expected = np.zeros(20)
    for u in range(20):
        held = [float(v) for v, w in zip(values, cells.tolist(), strict=True) if u in w]
        expected[u] = len(held) / sum(1 / v for v in held)
    np.testing.assert_allclose(harmonic_map(values, cells, grid).flatten().numpy(), expected, rtol=1e-5)


def test_a_window_of_all_patches_is_the_image_itself_and_others_ignore_the_rest(vit: Backbone) -> None:
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    tower = vit.tower("image")
    with torch.no_grad():
        whole = tower_windows(tower, x, window_cells((2, 2), 2))
        torch.testing.assert_close(whole, vit.image.encode(x), rtol=1e-5, atol=1e-6)
        grid, _, embed = windows_of(vit, x)
        assert grid == (2, 2)
        first = embed(torch.tensor([[0]]))
        changed = x.clone()
        changed[:, :, 16:, 16:] += 5.0
        torch.testing.assert_close(tower_windows(tower, changed, torch.tensor([[0]])), first)


def test_without_a_tower_windows_are_pooled_from_the_map() -> None:
    x, backbone = torch.rand(1, 3, 8, 12), DenseColours()
    grid, _, embed = windows_of(backbone, x)
    assert grid == (2, 3)
    left = embed(window_cells(grid, 2))[0]
    dense = backbone.dense()
    torch.testing.assert_close(left, dense.project(x[0, :, :, :8].mean((1, 2))))


class Scratched(DenseColours):
    """Knows that red is damage and blue is not."""

    @property
    def encoders(self) -> dict[str, object]:  # type: ignore[override]
        held = dict(super().encoders)
        text = held["text"]

        class Words(type(text)):  # type: ignore[misc]
            def inputs(self, items: list[str], size: int | None = None) -> Tensor:
                bad = ("damage", "broken", "defect", "flaw")
                named = [
                    "red" if any(w in t for w in bad) and "without" not in t and "flawless" not in t else "blue"
                    for t in items
                ]
                return super().inputs(named, size)

        return {**held, "text": Words("text", None, fingerprint="scratch")}


def test_scratches_rank_above_even_surfaces_and_are_found_in_place() -> None:
    table = scratched(3, 3, seed=5)
    method = WinCLIPStyle("plate", scales=(1, 2), side=40)
    found = list(method.fit(Kit({"main": Scratched()}), Evidence(), Run()).detect(table.items, Run()))
    assert max(a.score for a in found[:3]) < min(a.score for a in found[3:])
    for a, mask in list(zip(found, table.columns["mask"].values, strict=True))[3:]:
        assert a.map is not None
        values = F.interpolate(a.map[None, None], mask.shape, mode="bilinear")[0, 0].numpy()
        assert values[mask].mean() > 1.3 * values[~mask].mean()
        assert 0 <= a.map.min() <= a.map.max() <= 1


def test_the_map_is_between_the_scales(vit: Backbone) -> None:
    photos = Pictures((Image.new("RGB", (40, 30), "red"),))
    fitted = WinCLIPStyle(scales=()).fit(Kit({"main": vit}), Evidence(), Run())
    (found,) = fitted.detect(photos, Run())
    assert found.map is not None
    torch.testing.assert_close(found.map, torch.full((2, 2), found.score), rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        z = F.normalize(vit.image.encode(squashed(photos[0], vit.spec.pixels)), dim=-1)
    scale = float(vit.scale("image", "text")[0].detach())
    expected = (scale * z @ fitted.head.T).softmax(-1)[0, 1]
    assert found.score == pytest.approx(float(expected), abs=1e-5)


def test_what_cannot_be_is_refused() -> None:
    refused(WinCLIPStyle, {"thing": " "}, {"words": "many"}, {"scales": (0,)}, {"side": 0})
    from tests.support.backbone import SmallBackbone

    with pytest.raises(MissingHook, match="dense maps"):
        WinCLIPStyle().fit(Kit({"main": SmallBackbone()}), Evidence(), Run())
