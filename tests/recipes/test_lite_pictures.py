"""Names of drawings are things, what is held out follows from a name alone, and folders that lack are named."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from diptych.core import NotAvailable
from recipes import lite_pictures
from recipes.lite_pictures import SIDE, Things, drawings, emoji_name, held_out, photo_paths


@pytest.fixture(scope="module")
def things() -> Things:
    return Things()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("dog-face", "dog"),
        ("polar-bear", "polar bear"),
        ("teacup-without-handle", "teacup without handle"),
        ("woman-singer", "woman singer"),
        ("grinning-face", None),
        ("flag-for-chad", None),
        ("person-medium-light-skin-tone", None),
        ("one-oclock", None),
        ("red-square", None),
        ("anger", None),
        ("hot_beverage", "hot beverage"),
    ],
)
def test_names_of_emoji_are_things(key: str, name: str | None, things: Things) -> None:
    assert emoji_name(key, things) == name


def test_about_one_name_in_eight_is_held_out_and_spelling_alone_decides() -> None:
    names = [f"thing {i}" for i in range(4000)]
    kept = [held_out(n) for n in names]
    assert kept == [held_out(n) for n in names]
    assert abs(np.mean(kept) - 1 / 8) < 0.02


def packs(folder: Path) -> Path:
    """Write one icon to every set, and one rendered emoji."""
    icons = {
        "noto": "dog-face", "twemoji": "dog", "fluent-emoji-flat": "flag-for-chad", "fluent-emoji-high-contrast": "cup",
        "emojione-monotone": "teapot", "game-icons": "digital-trace", "ph": "dog-thin", "tabler": "sofa-filled",
    }  # fmt: skip
    for name, key in icons.items():
        (folder / f"iconify-json-{name}-1.0.0").mkdir()
        (folder / f"iconify-json-{name}-1.0.0" / "icons.json").write_text(
            json.dumps({"width": 32, "height": 32, "icons": {key: {"body": "<path/>"}}})
        )
    (folder / "iconify-json-noto-1.0.0" / "chars.json").write_text(json.dumps({"1f9f8": "teddy-bear"}))
    (folder / "lobehub-fluent-emoji-3d-1.0.0" / "assets").mkdir(parents=True)
    for code in ("1f9f8", "0023-fe0f-20e3"):
        Image.new("RGBA", (8, 8), (9, 9, 9, 255)).save(folder / f"lobehub-fluent-emoji-3d-1.0.0/assets/{code}.webp")
    return folder


def test_drawings_are_read_with_names_and_outlines_only_of_things_that_emoji_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = BytesIO()
    Image.new("RGBA", (4, 4), (1, 2, 3, 255)).save(drawn, "png")
    seen: list[str] = []

    def svg_to_bytes(svg_string: str, width: int, height: int) -> bytes:
        seen.append(svg_string)
        return drawn.getvalue()

    monkeypatch.setitem(sys.modules, "resvg_py", SimpleNamespace(svg_to_bytes=svg_to_bytes))
    found = drawings(packs(tmp_path))
    assert [(d.name, d.ink) for d in found] == [
        ("dog", False), ("dog", False), ("cup", True), ("teapot", True), ("teddy bear", False), ("dog", True),
    ]  # fmt: skip
    assert all(d.rgba.shape == (SIDE, SIDE, 4) for d in found)
    assert 'viewBox="0 0 32 32"' in seen[0]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match="lacks the package iconify-json-noto"):
        drawings(tmp_path)
    with pytest.raises(NotAvailable, match="No photos at"):
        photo_paths(tmp_path)


def test_photos_of_validation_splits_stay_out(tmp_path: Path) -> None:
    tables = {
        "grocery_packages/photos.csv": "path,split\na.jpg,train\nb.jpg,val\n",
        "exercise_pairs/exercises.csv": "id,split\nrow,train\nsquat,val\n",
        "furniture3d/objects.csv": "icon,split\nx.jpg,unclassed\ny.jpg,val\n",
        "demo_photos/photos.csv": "path\ncat.jpg\n",
    }
    for name, text in tables.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    files = ("clothing_small/train/hat/1.jpg", "clothing_small/validation/hat/2.jpg", "exercise_pairs/frames/row/0.jpg",
             "exercise_pairs/frames/squat/0.jpg")  # fmt: skip
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert [p.relative_to(tmp_path).as_posix() for p in photo_paths(tmp_path)] == [
        "clothing_small/train/hat/1.jpg", "grocery_packages/a.jpg", "exercise_pairs/frames/row/0.jpg",
        "furniture3d/x.jpg", "demo_photos/cat.jpg",
    ]  # fmt: skip
    assert lite_pictures.HELD_OUT == 8
