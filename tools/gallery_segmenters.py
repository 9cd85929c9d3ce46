"""The panel of the gallery that shows every segmenter on the same photos; what was learnt is kept in out/gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gallery_sheets import DIM, INK, Panel, Studio, refuse_one_name, sheet
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = ("coffee", "rocket", "old_town", "train_bridge")
NAMES = (
    "cup of coffee", "wooden table", "rocket", "sky", "building", "tree", "water", "bridge", "train", "mountain",
)  # fmt: skip
LEARNS: dict[str, dict[str, str]] = {
    "maskclip": {}, "sclip": {}, "naclip": {}, "stuff-context": {}, "trident": {},
    "clip-dinoiser": {"unlabelled": "msrc_small"},
    "ovseg": {"captioned": "coco_mini"}, "fc-clip": {"train": "msrc_small"}, "maft-plus": {"train": "msrc_small"},
}  # fmt: skip
"""Segmenter -> what it learns from: argument -> data set."""


def segmenters_panel(s: Studio) -> Panel:
    """Four photos by every segmenter that needs no weights of others."""
    import diptych
    from diptych.tasks.pages.overlay import overlay

    paths = [str(s.data / "demo_photos" / f"{name}.jpg") for name in PHOTOS]
    pictures: list[Image.Image] = []
    shares: list[tuple[float, ...]] = []
    lines: list[list[tuple[str, tuple[int, int, int]]]] = []
    for slug, learns in LEARNS.items():
        more: Any = {name: str(s.data / value) for name, value in learns.items()}
        if learns:
            (ROOT / "out" / "gallery").mkdir(parents=True, exist_ok=True)
            more["fitted"] = ROOT / "out" / "gallery" / slug
        for item in diptych.segment(paths, NAMES, s.maps.spec.name, method=slug, **more):
            pictures.append(overlay(item.image, item.labels, item.colours(), {}))
            shares.append(tuple(item.areas().values()))
            areas = [f"{item.classes[k]} {share:.0%}" for k, share in item.areas().items() if share >= 0.005]
            lines.append([(slug, INK), (", ".join(areas[:2]), DIM), (", ".join(areas[2:4]), DIM)])
    words = (
        "The same four photos and ten names by every segmenter, with `lite:2026-11`; the photos alone were chosen. "
        "Where one thing fills the photo, most call everything by its name: the table under the cup is missed but for "
        "a corner. "
        "Six find the red train. `stuff-context` knows the sky by its look in all three photos that have one, and "
        "takes the dark meadow under the bridge for water. `fc-clip` and `maft-plus` learnt from 140 label maps of "
        "other scenes and draw the cleanest borders; of these two only `fc-clip` calls the sky over the old town sky, "
        "and neither finds the train. "
        "`ovseg` learnt from 110 captioned photos. SAM-CLIP is missing: it distils into a SAM, and no SAM weights were "
        "available. Photos of the old town and of the bridge: Copyright Microsoft Corporation, MIT."
    )
    refuse_one_name(shares, words)
    photos = " ".join(f"{name}.jpg" for name in PHOTOS)
    command = f'diptych segment {photos} --names "{", ".join(NAMES)}" --method trident'
    return Panel(
        "segmenters.jpg", "segment: every segmenter", command, words, sheet(pictures, lines, len(PHOTOS), 230, 160)
    )
