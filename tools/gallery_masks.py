"""The panel of the gallery that shows objects, not only classes: panoptic maps of composed scenes."""

from __future__ import annotations

import numpy as np
from gallery_sheets import DIM, INK, Panel, Studio, sheet
from PIL import Image

from diptych.core import ClassNames, Column, Samples
from diptych.data.labelled import NamedTable
from diptych.data.scenes.compose import Scene, SceneRecipe, Scenes
from diptych.data.scenes.tables import Pictures

NAMES = ("coloured shape", "background")
TRAINED, SHOWN, STEPS = 160, 4, 1200


def panoptic_panel(s: Studio) -> Panel:
    """Scenes with several objects of a kind: their truth, the classes that are found, and the objects."""
    from diptych.methods.segment.fc_clip import FCCLIP
    from diptych.tasks.label_maps.segmented import Segmented
    from diptych.tasks.pages.overlay import overlay, palette

    recipe = SceneRecipe(size=128, objects=(2, 3), same=0.5, sides=(0.3, 0.5))
    scenes, shown = Scenes(recipe, TRAINED, seed=1), Scenes(recipe, SHOWN, seed=2)
    truth = tuple(_panoptic(scenes[i]) for i in range(len(scenes)))
    train = NamedTable(Pictures(scenes), {"panoptic": Column("panoptic", truth)}, NAMES)
    method, colours = FCCLIP(side=128, steps=STEPS), palette(len(NAMES), background=False)
    photos: Samples[Image.Image] = Pictures(shown)
    pictures: list[Image.Image] = []
    lines = []
    found_in = s.segmented(photos, ClassNames(NAMES, ("{}",)), method, train=train, things=NAMES[:1], seed=1)
    for i, segmented in enumerate(found_in):
        assert isinstance(segmented, Segmented)
        assert segmented.panoptic is not None
        right = _panoptic(shown[i])
        things = sum(seg.thing for seg in segmented.panoptic.segments)
        classes = overlay(photos[i], segmented.labels, colours, {})
        objects = overlay(photos[i], segmented.labels, colours, {}, parts=segmented.panoptic.ids)
        pictures += [overlay(photos[i], right[..., 0].astype(np.uint8), colours, {}, parts=right[..., 1]), classes]
        pictures.append(objects)
        lines += [[(f"truth: {len(shown[i].objects)} objects", INK)], [("classes", DIM)], [(f"found: {things}", INK)]]
    words = (
        f"Four composed scenes, none chosen: the truth, the classes, and the objects. FC-CLIP on the frozen maps of "
        f"`lite:2026-11` learnt masks from {TRAINED} other scenes in {STEPS} steps. White lines are borders of "
        "segments, which `--things` counts and writes as COCO panoptic and instance files. Objects that share a mask, "
        "or that several masks share, are not counted separately."
    )
    command = (
        'diptych segment scenes/ --names "coloured shape, background" --method fc-clip --train labelled/ --things '
        '"coloured shape"'
    )
    return Panel("panoptic.png", "segment: objects", command, words, sheet(pictures, lines, 3, 200))


def _panoptic(scene: Scene) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Return (S, S, 2): class positions, and the numbers of the objects, 0 for the background."""
    maps = np.zeros((*scene.image.shape[:2], 2), dtype=np.int32)
    maps[..., 0] = 1
    for number, mask in enumerate(scene.masks, start=1):
        maps[mask] = 0, number
    return maps
