"""The bench of proofs on composed scenes: whole towers train, from ``tiny`` or from random weights.

Scenes are painted, so their captions, boxes and phrases are true; they stand in for photos where a claim needs such
truth, or more pairs than the real sets have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diptych.backbones.sources.openclip import OpenClip
from diptych.backbones.sources.openclip_config import build
from diptych.backbones.sources.openclip_sources import from_model
from diptych.core import Backbone, MissingHook, NotAvailable, Run, Table
from diptych.data.scenes.compose import Scene, SceneRecipe
from diptych.data.scenes.tables import Caption, scene_data, short
from diptych.data.words.sentences import article
from diptych.evaluation.boards.tune import TuneBench
from diptych.train.schedule import Fit, Schedule
from proofs.benches.training.pairs import with_captions

PAIRS = SceneRecipe(objects=(1, 2, 3))
"""Scenes of up to three objects."""
SIZES = {"train": 2000, "test": 400}
WHOLE = Fit(lr=1e-3, batch=64, steps=200, decay=0.1, schedule=Schedule(warmup=20), clip=1.0, log_every=50)
"""Settings of towers from random weights, fixed before any result was seen."""

FURTHER = replace(WHOLE, lr=3e-4, batch=50, steps=60, schedule=Schedule(warmup=6))
"""Settings of towers that were trained before, fixed likewise."""


@dataclass(frozen=True)
class NewTowers:
    """Starts a training from random weights in the architecture of the bench's backbone.

    Args:
        prepare: changes the new space, such as a bias that a loss needs; None: nothing.
    """

    prepare: Callable[[Backbone], Backbone] | None = None

    def __call__(self, space: Any, run: Run) -> Backbone:
        """Return the towers of a seed.

        Raises:
            MissingHook: the backbone is no open_clip model with a configuration.
        """
        if not isinstance(space, OpenClip) or space.config is None:
            raise MissingHook(f"{space.spec.name} cannot be built anew: use tiny or an openclip backbone.")
        module = build(space.config, run.integer("towers") % 2**31)
        new = from_model(
            module, replace(space.spec, name=f"{space.spec.name}, random"), space.tokens, config=space.config
        )
        return self.prepare(new) if self.prepare else new


def open_scene_pairs(
    name: str,
    backbone: Backbone,
    run: Run,
    seeds: tuple[int, ...],
    *,
    recipe: SceneRecipe = PAIRS,
    caption: Caption = short,
    fit: Fit = WHOLE,
    trains: str = "whole towers on composed scenes",
) -> TuneBench:
    """Open composed scenes with captions, whose split test is held out; all towers learn, unless an arm says otherwise.

    ``trains`` says in the result what learns.
    """
    only_scenes(name)
    data = scene_data(recipe, SIZES, caption=caption)
    bench = TuneBench(data, backbone, fit, run, seeds, parts="all", part="recall_at_1", metric="value")
    sizes = {"items": len(bench.held_out), "train": len(bench.train)}
    bench.report = {"data_hash": data.hash, "split": "test", **sizes, "trains": trains}
    return bench


SHORT = "recall_at_1_of_short_captions"
"""Part of the bench of long captions: recall at 1 of the short captions of the same scenes."""
OTHER_ENDS = "recall_at_1_of_captions_with_other_ends"
"""Part of it: recall at 1 of the long captions whose last sentence is that of another scene."""
FILLER = (
    "It is one of many pictures that were made in the same way, with a plain ground and a few things on it, and "
    "nothing in these lines tells it from the others, since they stand under each of them. They are here so that what "
    "tells the pictures apart comes late, as it does in captions that people write at length for a picture that they "
    "like. More of the same could follow here."
)


def late(scene: Scene) -> tuple[str, ...]:
    """Return a caption of a scene whose first sentence names the things, and whose last one, past 77 tokens, all."""
    things = " and ".join(article(o.noun) for o in scene.objects)
    return (f"A picture of {things}. {FILLER} It shows {scene.captions['short']}.",)


def permuted_ends(table: Table[Any], run: Run) -> Table[Any]:
    """Return the table with the last sentence of each caption given to another picture, along one random circle."""
    captions = [texts[0].split(f" {FILLER} ") for texts in table.columns["captions"].values]
    order = np.random.default_rng(run.integer("ends")).permutation(len(captions))
    ends = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    mixed = [f"{texts[0]} {FILLER} {captions[ends[i]][1]}" for i, texts in enumerate(captions)]
    return with_captions(table, [(c,) for c in mixed])


def open_long_captions(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> TuneBench:
    """Open scenes with long captions; the backbone truncates.

    Beside them are the short captions of the same scenes, and long ones whose ends are those of other scenes.
    """
    only_scenes(name)
    if not isinstance(backbone, OpenClip):
        raise MissingHook(f"Long captions are measured on open_clip models, not on {backbone.spec.name}: use tiny.")
    cut = OpenClip(backbone.module(), backbone.spec, backbone.tokens, config=backbone.config, truncate=True)
    bench = open_scene_pairs(name, cut, run, seeds, caption=late, fit=FURTHER)
    pictures: Any = bench.held_out.items
    bench.beside = {
        SHORT: with_captions(bench.held_out, [short(s) for s in pictures.scenes]),
        OTHER_ENDS: permuted_ends(bench.held_out, run),
    }
    return bench


def only_scenes(name: str) -> None:
    """Refuse other names of data than "scenes".

    Raises:
        NotAvailable: it is another.
    """
    if name != "scenes":
        raise NotAvailable(f"{name} is not here: this proof paints its data, which are called scenes.")
