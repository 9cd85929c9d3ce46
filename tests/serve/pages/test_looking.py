from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych import load
from diptych.core import UnreadableItem
from diptych.serve.model import ServedModel
from diptych.serve.opening import open_index
from diptych.serve.pages.looking import entry_picture, jpeg, looked_at
from diptych.serve.pages.tiles import version_of
from diptych.tasks.pages.overlay import png


def test_words_look_somewhere_on_a_picture() -> None:
    model = ServedModel("tiny", load("tiny", engine="torch", cache=False))
    photo = Image.new("RGB", (96, 64), "white")
    photo.paste((220, 40, 40), (8, 8, 40, 40))
    shown = looked_at(photo, "a red square", model, model.calls)
    changed = np.abs(np.asarray(shown.crop((0, 0, 96, 64)), dtype=int) - np.asarray(photo, dtype=int)).sum(axis=2) > 30
    assert 0.01 < changed.mean() < 0.9
    assert jpeg(shown)[:2] == b"\xff\xd8"
    alone = looked_at(photo, "a red square", model, model.calls, alone=True)
    assert (alone.mode, alone.size) == ("RGBA", photo.size)
    laid = np.asarray(Image.alpha_composite(photo.convert("RGBA"), alone).convert("RGB"), dtype=int)
    assert np.abs(laid - np.asarray(shown.crop((0, 0, 96, 64)), dtype=int)).max() <= 2  # of 255: opacity is rounded
    assert Image.open(io.BytesIO(png(alone))).getpixel((0, 0)) == alone.getpixel((0, 0))


def test_pictures_of_entries_are_small_and_of_the_index_alone(index_folder: Path, model: ServedModel) -> None:
    served = open_index(index_folder, [model])
    assert max(entry_picture(served, 1, 4).size) <= 4
    with pytest.raises(UnreadableItem):
        entry_picture(served, 10**9)
    with served.opened() as index:
        version = version_of(index.entries([1])[1])
    assert entry_picture(served, 1, 4, version).size == entry_picture(served, 1, 4).size
    with pytest.raises(UnreadableItem):
        entry_picture(served, 1, 4, version[::-1])


def test_a_backbone_without_maps_says_so(client: Any) -> None:
    assert client.get("/look/photos/1?q=red").status_code == 501
    assert client.get("/look/photos/1").status_code == 400
    assert client.get("/look/photos/123456?q=red").status_code == 404
