"""The bench of pictures from words, with stand-ins that draw what they are asked for, or always the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
import torch

from diptych.core import Edited, Editor, FittedEditor, NotAvailable, Run, Takes
from diptych.data.scenes.compose import Scenes
from diptych.evaluation.arms import CHANCE, Arm
from proofs.benches.edits import words_to_pictures
from proofs.benches.edits.words_to_pictures import (
    DISTANCE,
    SHAPE,
    SMALL_SCENES,
    Drawing,
    WordsBench,
    open_words,
)
from tests.train.test_pair import small


@cache
def known() -> dict[tuple[str, str], np.ndarray]:
    """Colour and shape -> a scene with it."""
    scenes = Scenes(SMALL_SCENES, 400, seed=5)
    return {(s.objects[0].colour, s.objects[0].noun): s.image for s in map(scenes.__getitem__, reversed(range(400)))}


@dataclass(frozen=True)
class Painter(Editor, FittedEditor):
    """Paints the scenes that it is asked for, or red circles."""

    honest: bool = True
    takes: ClassVar[Takes] = Takes(("nothing",), source=False, targets=None)

    def fit(self, kit, evidence, run):
        return self

    def edit(self, ask, run):
        wanted = [tuple(t.split()[1:]) if self.honest else ("red", "circle") for t in ask.targets]
        images = [known().get(pair, known()["red", "circle"]) for pair in wanted for _ in range(ask.count)]
        return Edited((), torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255)


FEATURES = WordsBench._features
"""Those of Lite0, which take a second for 32 pictures."""


def shades(picture) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255


def cells(self, pictures) -> torch.Tensor:
    """The mean colours of four quarters."""
    shown = [
        p if isinstance(p, torch.Tensor) else torch.from_numpy(np.array(p)).permute(2, 0, 1) / 255 for p in pictures
    ]
    return torch.nn.functional.adaptive_avg_pool2d(torch.stack(shown), 2).flatten(1)


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words_to_pictures, "SIZES", {"train": 4, "test": 20})
        patch.setattr(words_to_pictures, "EACH", 1)
        patch.setattr(WordsBench, "_features", cells)
        yield open_words("scenes", small(), Run(workers=1), (1, 2))


def test_what_is_drawn_is_read(bench) -> None:
    honest, same = (bench.measure(Arm(Drawing(Painter(honest=h)))) for h in (True, False))
    assert honest.values.shape == (2, 48)
    assert honest.values.mean() > 0.9
    assert honest.part(SHAPE).values.mean() > 0.9
    assert same.values.mean() == pytest.approx(1 / 8)
    assert same.part(SHAPE).values.mean() == pytest.approx(1 / 6)
    assert honest.others[DISTANCE] < same.others[DISTANCE]
    chance = bench.measure(Arm(CHANCE))
    assert (chance.values.mean(), chance.part(SHAPE).values.mean()) == (pytest.approx(1 / 8), pytest.approx(1 / 6))
    picture = bench.held.items[0]
    assert FEATURES(bench, [picture]).shape == FEATURES(bench, [shades(picture)]).shape
    with pytest.raises(NotAvailable):
        open_words("photos", small(), Run(), (1,))
