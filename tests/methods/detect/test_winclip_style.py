from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Backbone, Evidence, Kit, MissingHook, Run
from diptych.methods.detect.winclip_style import STATES, TEMPLATES, WinCLIPStyle, state_prompts
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
