"""The pictures that the tower of ``lite:views`` learns from: photos whose licence allows it, and drawings with names.

No label, class name or caption of a photo is read. The name of a drawing is the one that its publisher gives it.
"""

from __future__ import annotations

import csv
import importlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import NotAvailable
from diptych.data.words.wordnet import WordNet
from recipes.lite_heads import PHYSICAL

SIDE = 192
"""Stored side of photos, and of drawings."""
HELD_OUT = 8
"""One photo, and one name of a drawing, in so many is kept from training."""
COLOURED = ("noto", "twemoji", "fluent-emoji-flat")
LINES = ("fluent-emoji-high-contrast", "emojione-monotone")
OUTLINES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"ph": ("-thin", "-light", "-bold", "-fill", ""), "tabler": ("-filled", "")}
)
"""Icon set -> endings of its styles, the bare name last."""


@dataclass(frozen=True)
class Drawing:
    """One drawing.

    Args:
        name: what it shows, "polar bear".
        rgba: (192, 192, 4) uint8.
        ink: True for one colour on nothing, which may be given any colour.
    """

    name: str
    rgba: NDArray[np.uint8]
    ink: bool


def held_out(name: str) -> bool:
    """Return whether a path or name is kept from training: a function of its spelling alone."""
    return zlib.crc32(name.encode()) % HELD_OUT == 0


def photo_paths(data: Path) -> list[Path]:
    """Return the photos, sorted by source; where a set has splits, only those of its training split.

    Clothes (CC0), groceries (MIT), exercises (Unlicense), furniture renders (CC0, CC BY 3.0), demo photos (one by one).

    Args:
        data: folder of the development sets.

    Raises:
        NotAvailable: a set is missing.
    """

    def listed(name: str, table: str, column: str) -> Iterator[tuple[Path, Mapping[str, str]]]:
        path = data / name / table
        if not path.is_file():
            raise NotAvailable(f"No photos at {path}: give the folder of the development sets.")
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield data / name / row[column], row

    paths = sorted((data / "clothing_small" / "train").rglob("*.jpg"))
    paths += [p for p, row in listed("grocery_packages", "photos.csv", "path") if row["split"] == "train"]
    for folder, row in listed("exercise_pairs", "exercises.csv", "id"):
        if row["split"] == "train":
            paths += sorted((folder.parent / "frames" / row["id"]).glob("*.jpg"))
    paths += [p for p, row in listed("furniture3d", "objects.csv", "icon") if row["split"] != "val"]
    return paths + [p for p, _ in listed("demo_photos", "photos.csv", "path")]


class Things:
    """Says whether a phrase names a physical thing, by WordNet."""

    def __init__(self) -> None:
        self.words = WordNet.load()

    @cached_property
    def _known(self) -> dict[str, bool]:
        return {}

    def __call__(self, phrase: str) -> bool:
        """Return whether any sense of the phrase lies below "physical entity"."""
        if phrase not in self._known:
            senses = self.words.senses(phrase)
            self._known[phrase] = any(PHYSICAL in self.words.ancestors(s.offset) for s in senses)
        return self._known[phrase]


def emoji_name(key: str, things: Things) -> str | None:
    """Return the phrase of an emoji's key, or None where it names no thing: "dog-face" is "dog"."""
    words = key.replace("_", "-").split("-")
    if {"skin", "tone", "light", "medium", "dark", "flag", "keycap", "button", "symbol", "letter"} & set(words):
        return None
    if words[-1] in {"face", "oclock", "thirty", "square", "circle"}:
        words = words[:-1] if words[-1] == "face" else []
    phrase = " ".join(words)
    return phrase if words and (things(phrase) or (key.split("-")[-1] != "face" and things(words[-1]))) else None


def drawings(packs: Path) -> list[Drawing]:
    """Return all drawings, emoji first, then game icons and outlines that bear a noun's name.

    Args:
        packs: folder of the unpacked npm packages, each folder called as ``npm pack`` calls its file.

    Raises:
        NotAvailable: a package is missing.
    """
    things, out = Things(), []
    for pack in (*COLOURED, *LINES):
        for key, svg in _icons(packs, pack):
            if name := emoji_name(key, things):
                out.append(Drawing(name, _rastered(svg), pack in LINES))
    keys: dict[str, str] = json.loads((_folder(packs, "iconify-json-noto") / "chars.json").read_text(encoding="utf-8"))
    for path in sorted((_folder(packs, "lobehub-fluent-emoji-3d") / "assets").glob("*.webp")):
        plain = path.stem.replace("-fe0f", "")
        if name := emoji_name(keys.get(plain, keys.get(path.stem, "flag")), things):
            out.append(Drawing(name, _square(Image.open(path)), False))
    for key, svg in _icons(packs, "game-icons"):
        if things(key.replace("-", " ")):
            out.append(Drawing(key.replace("-", " "), _rastered(svg), True))
    shown = {d.name for d in out}
    for pack, endings in OUTLINES.items():
        for key, svg in _icons(packs, pack):
            ending = next(e for e in endings if key.endswith(e))
            name = key.removesuffix(ending).replace("-", " ")
            if name in shown and things(name):
                out.append(Drawing(name, _rastered(svg), True))
    return out


def _folder(packs: Path, start: str) -> Path:
    folders = sorted(p for p in packs.glob(f"{start}-[0-9]*") if p.is_dir())
    if not folders:
        raise NotAvailable(f"{packs} lacks the package {start}: fetch it with npm pack, and unpack it there.")
    return folders[-1]


def _icons(packs: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yield (key, SVG) of an icon set, sorted by key."""
    icons: Mapping[str, Any] = json.loads(
        (_folder(packs, f"iconify-json-{name}") / "icons.json").read_text(encoding="utf-8")
    )
    for key, icon in sorted(icons["icons"].items()):
        box = [icon.get(k, icons.get(k, d)) for k, d in (("left", 0), ("top", 0), ("width", 16), ("height", 16))]
        yield (
            key,
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" color="black" '
            f'viewBox="{" ".join(map(str, box))}">{icon["body"]}</svg>',
        )


def _rastered(svg: str) -> NDArray[np.uint8]:
    # resvg_py is no dependency of diptych: whoever runs the recipe installs it
    drawn = importlib.import_module("resvg_py").svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE)
    return _square(Image.open(BytesIO(bytes(drawn))))


def _square(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
