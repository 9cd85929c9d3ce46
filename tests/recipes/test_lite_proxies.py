"""Classes go to their narrowest everyday word, and proxies hold the asked looks with labels that fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from diptych.core import NotAvailable
from diptych.data.words.wordnet import WordNet
from recipes.lite_pictures import SIDE, Drawing
from recipes.lite_proxies import EVERYDAY, STYLES, cosines, everyday, proxies, tower_pixels

BEAGLE, CAT, SHARK, TENCH, DESK, VOLCANO = (
    "n02088364", "n02123045", "n01484850", "n01440764", "n03179701", "n09472597",
)  # fmt: skip


def test_a_class_goes_to_its_narrowest_word() -> None:
    found = everyday(WordNet.load(), [BEAGLE, CAT, SHARK, TENCH, DESK, VOLCANO])
    assert found == ["dog", "cat", "shark", "fish", "table", "mountain"]
    assert len(set(EVERYDAY)) == len(EVERYDAY)


def test_proxies_are_looks_of_one_sample_and_drawings(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match="No ImageNet sample"):
        next(proxies(tmp_path, []))
    folder = tmp_path / "imagenet1k_sample"
    folder.mkdir()
    rows = ["path,wnid"]
    for i, wnid in enumerate((CAT, BEAGLE, "n15075141")):  # toilet tissue is under no word
        Image.effect_noise((60, 40), 60 + i).convert("RGB").save(folder / f"{i}.jpg")
        rows.append(f"{i}.jpg,{wnid}")
    (folder / "labels.csv").write_text("\n".join(rows))
    drawn = [Drawing(n, np.full((SIDE, SIDE, 4), 200, np.uint8), ink) for n, ink in (("cup", True), ("ant", False))]
    found = list(proxies(tmp_path, drawn))
    assert [p.name for p in found] == [*STYLES, "coloured drawings", "line drawings"]
    for look in found[: len(STYLES)]:
        assert [look.classes[i] for i in look.labels] == ["cat", "dog"]
        assert all(x.shape == (SIDE, SIDE, 3) for x in look.pictures)
    assert not np.array_equal(found[0].pictures[0], found[1].pictures[0])
    assert found[-1].classes == ("ant", "cup")
    assert [found[-1].classes[i] for i in found[-1].labels] == ["cup"]


def test_cosines_are_products_of_unit_vectors() -> None:
    tower = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pictures = [np.full((SIDE, SIDE, 3), value, np.uint8) for value in (255, 0)]
    texts = torch.eye(3)[:2]
    got = cosines(tower, nn.Identity(), pictures, texts, 32)  # type: ignore[arg-type]
    assert torch.allclose(got, torch.tensor([[1.0, 1.0], [-1.0, -1.0]]) / 3**0.5, atol=1e-5)


def test_pixels_have_the_side_and_range_of_the_tower() -> None:
    x = tower_pixels(torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 8, 8, 3), 4)
    assert x.shape == (2, 3, 4, 4)
    assert x[0].unique().tolist() == [-1]
    assert x[1].unique().tolist() == [1]
