"""Make docs/gallery.md and its pictures with ``lite`` and ``tiny``: ``DIPTYCH_DATA=... python tools/gallery.py``.

Pictures come from photos that ship with their licences, from the CC0 clothes that ship, from textile_sim (MIT, in the
folder of
DIPTYCH_DATA), and from this project's own scenes; nothing else may be shown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import gallery_generation as generation
import gallery_masks as masks
import gallery_panels as panel
import gallery_segmenters as segmenters
import gallery_trained as trained
from gallery_sheets import Panel, Studio

from diptych.backbones.sources.load import load
from diptych.core import Run
from diptych.verbs.segment import MAPS

ROOT = Path(__file__).resolve().parent.parent
PAGE, FIGURES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "figures" / "gallery"

PANELS: tuple[Callable[[Studio], Panel], ...] = (
    panel.classify_panel,
    panel.board_panel,
    panel.segment_panel,
    segmenters.segmenters_panel,
    masks.panoptic_panel,
    panel.detect_panel,
    panel.search_panel,
    panel.caption_panel,
    trained.rewarded_panel,
    trained.users_panel,
    panel.audit_panel,
    panel.curate_panel,
    panel.extend_panel,
    panel.edit_panel,
    panel.mosaic_panel,
    panel.generate_panel,
    generation.galip_panel,
    generation.clipinverter_panel,
    generation.cut_and_paste_panel,
    generation.rewrite_panel,
    trained.diva_panel,
)


def page(panels: Sequence[Panel]) -> str:
    """Return the Markdown."""
    head = (
        "# Gallery\n\nSee what each command makes of real pictures, with the embedded backbones and nothing touched up "
        "(`DIPTYCH_DATA=... python tools/gallery.py`). Photos: those that ship "
        "([credits](../src/diptych/assets/photos/credits.csv): CC0, public domain or no known restrictions), the CC0 "
        "clothes that ship, textile_sim (MIT), and scenes of our own generator. Some need minutes of training, so the "
        "pictures are committed, and the site shows them on the pages of their systems.\n"
    )
    parts = [
        f"\n## {p.title}\n\n![{p.title}](figures/gallery/{p.file})\n\n{p.words}\n\n```console\n$ {p.command}\n```\n"
        for p in panels
    ]
    return head + "".join(parts)


def main(only: Sequence[str]) -> int:
    """Make the pictures, all or those whose verb is named, and the page."""
    run = replace(Run(), cache=Path(os.environ.get("DIPTYCH_CACHE", Path.home() / ".cache" / "diptych")) / "embeddings")
    studio = Studio(load("lite"), load(MAPS), load("tiny"), run, Path(os.environ.get("DIPTYCH_DATA", "")))
    FIGURES.mkdir(parents=True, exist_ok=True)
    panels = []
    for make in PANELS:
        verb = make.__name__.removesuffix("_panel")
        if only and verb not in only:
            continue
        pictures = make(studio)
        target = FIGURES / pictures.file
        if isinstance(pictures.picture, str):
            target.write_text(pictures.picture + "\n", encoding="utf-8")
        else:
            pictures.picture.save(target, quality=82, optimize=True)
        sys.stdout.write(f"{target.relative_to(ROOT)}  {target.stat().st_size / 1024:.0f} KiB\n")
        panels.append(pictures)
    if not only:
        PAGE.write_text(page(panels), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
