"""Proof of AugCLIP: forced choices between a right edit of a scene and others, whose order is known."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from diptych.core import Backbone, Evidence, Kit, Run, Samples, Table, Text, TextPool
from diptych.data.edits import edit_table
from diptych.data.factors import Altered
from diptych.data.scenes.captions import phrase
from diptych.data.scenes.compose import Scene, SceneRecipe, Scenes, scene
from diptych.data.scenes.tables import Pictures
from diptych.data.words.sentences import article
from diptych.evaluation.arms import Floats
from diptych.methods.audit.augclip import COLUMNS, AugCLIP
from proofs.scenes.edited import EditedScenes, scene_attributes
from proofs.trial import Tabled, Trial, each_seed, hash_of, over

Phrases = tuple[str, ...]
SOURCES = 240
"""Scenes a seed."""
STREAM = 90_000
"""Seeds of the scenes begin here, apart from those on which ``tiny`` was trained."""
RECIPE = SceneRecipe(objects=(2,))


@dataclass(frozen=True)
class Targets:
    """Other scenes that show the target of each edit alone: what was asked, and nothing of the source.

    Args:
        after: scenes after an edit of their first object.
        seed: of the other scenes.
    """

    after: EditedScenes
    seed: int

    def __len__(self) -> int:
        return len(self.after)

    def __getitem__(self, index: int) -> Scene:
        thing = self.after[index].objects[0]
        recipe = replace(RECIPE, objects=(1,), only=frozenset({(str(thing.colour), thing.noun)}))
        return scene(recipe, self.seed, index)

    def key(self, index: int) -> str:
        """Return the hash of the edited scene's key and the seed."""
        return hashlib.sha256(f"{self.after.key(index)}/alone/{self.seed}".encode()).hexdigest()

    def name(self, index: int) -> str:
        """Return the name of the edited scene."""
        return f"{self.after.name(index)}, the target alone"


def open_choices(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> Tabled:
    """Measure how often scores prefer the right edit to each other one; seeds draw scenes and edits.

    The name of the data set is not read: scenes are generated. Attributes are true of the scenes before and after.
    """
    keys = hashlib.sha256()

    def once(run: Run) -> dict[str, Floats]:
        rng = np.random.default_rng(run.integer("mixed attributes"))
        before = Scenes(RECIPE, SOURCES, STREAM + run.seed)
        after = EditedScenes(before, "color")
        right = Pictures(after)
        rivals: dict[str, Samples[Image.Image]] = {
            "none": Pictures(before),
            "over": Pictures(Targets(after, STREAM + 500 + run.seed)),
            "careless": Altered(right, "texture"),
        }
        keys.update(hash_of(right, *rivals.values()).encode())
        shown = [(before[i], after[i]) for i in range(SOURCES)]
        targets = [article(phrase(new.objects[0])) for _, new in shown]
        lists = [(scene_attributes(old), scene_attributes(new)) for old, new in shown]
        mixed = [_mixed(old, new, rng) for old, new in lists]
        every = {"right": right, **rivals}
        scores: dict[str, dict[str, Floats]] = {}
        for word, method, given in (
            ("AugCLIP", AugCLIP(), lists), ("on the plane", AugCLIP(margin=0.0), lists),
            ("centred", AugCLIP(centred=True), lists), ("mixed", AugCLIP(), mixed),
        ):  # fmt: skip
            evidence = Evidence(unlabelled=rivals["none"], texts=_pool(lists))
            fitted = method.fit(Kit.of(backbone), evidence, run)
            for kind, items in every.items():
                edited: Table[Any] = edit_table(
                    rivals["none"], items, targets, [s for s, _ in given], [t for _, t in given]
                )
                with warnings.catch_warnings():  # what the arms on the plane and of mixed attributes are there to show
                    warnings.filterwarnings("ignore", "The margin is|.* sources have the target's value", UserWarning)
                    scored = fitted.score(edited, run)
                scores.setdefault(word, {})[kind] = scored.values.double().numpy()
                if word == "AugCLIP":
                    for column in COLUMNS[:3]:
                        scores.setdefault(column, {})[kind] = scored.columns[column].double().numpy()
        arms = {f"{w}, {rival}": preferred(of["right"], of[rival]) for w, of in scores.items() for rival in rivals}
        arms |= {f"{w}, all": np.mean([arms[f"{w}, {rival}"] for rival in rivals], axis=0) for w in scores}
        return {**arms, "a coin": np.full(SOURCES, 0.5)}

    table = each_seed(once, run, seeds)
    facts = {"data_hash": keys.hexdigest(), "items": SOURCES, "composite": "generated scenes"}
    return Tabled(backbone, run, seeds, "agreement", facts, table)


def preferred(right: Floats, other: Floats) -> Floats:
    """Return 1.0 where the right edit has the higher score, 0.5 at a tie and 0.0 elsewhere, (N,)."""
    return np.asarray((np.sign(right - other) + 1) / 2)


def _mixed(source: Phrases, target: Phrases, rng: np.random.Generator) -> tuple[Phrases, Phrases]:
    """Return both lists, with what differs between them shuffled over the two."""
    stay = [t for t in source if t in target]
    differ = [t for t in (*source, *target) if t not in stay]
    half = sum(t not in stay for t in source)
    shuffled = [differ[i] for i in rng.permutation(len(differ))]
    return (*shuffled[:half], *stay), (*shuffled[half:], *stay)


def _pool(lists: Sequence[tuple[tuple[str, ...], ...]]) -> TextPool:
    texts = dict.fromkeys(t for pair in lists for side in pair for t in side)
    return TextPool({"": tuple(Text(t, writer="scene truth") for t in texts)})


TRIAL = Trial(
    (
        over("a coin", "AugCLIP, none", "right edit, or none"),
        over("a coin", "AugCLIP, over", "right edit, or the target in another scene"),
        over("source_similarity, none", "AugCLIP, none", "over cos(x, y): right edit, or none"),
        over("cosine, over", "AugCLIP, over", "over CLIPScore: right edit, or the target in another scene"),
        over("direction, all", "AugCLIP, all", "over directional similarity: mean of the three choices"),
    ),
    controls=(over("a coin", "mixed, none", "attributes mixed at random: right edit, or none"),),
    beside={
        f"{word}: right edit, or {'none' if rival == 'none' else rival}": over("a coin", f"{word}, {rival}")
        for word in ("AugCLIP", "on the plane", "centred", *COLUMNS[:3])
        for rival in ("none", "over", "careless")
        if (word, rival) not in {("AugCLIP", "none"), ("AugCLIP", "over")}
    },
    bench=open_choices,
)
