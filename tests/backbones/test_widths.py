from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.backbones.lite import load_lite
from diptych.backbones.widths import at_width, check_width
from diptych.core import UsageError

TEXTS = ["a photo of a dog.", "a photo of a red car.", "a photo of a cup of coffee."]


@torch.no_grad()
def test_the_short_lite_is_the_rotation_of_lite(photos: list[Image.Image]) -> None:
    """Vectors of "lite:512" are the first numbers of the rotation of those of "lite", and so is each width below."""
    lite, short = load_lite(), load_lite("lite:512")
    assert short.spec.dim == short.image.dim == 512
    assert {lite.image.fingerprint, lite.text.fingerprint}.isdisjoint({short.image.fingerprint, short.text.fingerprint})
    for modality, items in (("image", photos), ("text", TEXTS)):
        whole, few = (b.encoders[modality].encode(b.encoders[modality].inputs(items)).numpy() for b in (lite, short))
        assert np.abs(at_width(whole, lite.spec, 512) - few).max() < 1e-5
        for width in (1, 64):
            shorter = at_width(few, short.spec, width)
            assert np.allclose(np.linalg.norm(shorter, axis=1), 1)
            assert np.abs(at_width(whole, lite.spec, width) - shorter).max() < 1e-4
        assert at_width(whole, lite.spec, lite.spec.dim) is whole


@torch.no_grad()
def test_cosines_of_the_short_lite_order_names_as_those_of_lite(photos: list[Image.Image]) -> None:
    cosines = []
    for name in ("lite", "lite:512"):
        backbone = load_lite(name)
        x, t = backbone.image.encode(backbone.image.inputs(photos)), backbone.text.encode(backbone.text.inputs(TEXTS))
        cosines.append(torch.nn.functional.cosine_similarity(x[:, None], t[None], dim=-1))
    assert float(torch.corrcoef(torch.stack([c.flatten() for c in cosines]))[0, 1]) > 0.9


def test_other_widths_and_other_models_are_refused() -> None:
    spec = load_lite().spec
    for width in (0, -3, 513, 2663):
        with pytest.raises(UsageError, match=f"1 to 512 dimensions, or all 2664, and not {width}"):
            check_width(spec, width)
    trained = replace(spec, weights="state:00")
    with pytest.raises(UsageError, match="cannot give 64"):
        check_width(trained, 64)
    check_width(trained, spec.dim)
