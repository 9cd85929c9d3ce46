"""Axis of conflicting cues: pictures whose shape is of one class and whose texture is of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diptych.core import Control, Finding, Run
from diptych.metrics.axes.common import too_few
from diptych.metrics.chance import at_chance
from diptych.metrics.closed_intervals import wilson

Ints = NDArray[np.int64]


def cues(predicted: Ints, shapes: Ints, textures: Ints) -> tuple[int, int, int]:
    """Return (answers that name the shape, those that name the texture, pictures whose two classes differ)."""
    differ = shapes != textures
    return int((predicted == shapes)[differ].sum()), int((predicted == textures)[differ].sum()), int(differ.sum())


def shape_bias(name: str, about: str, predicted: Ints, shapes: Ints, textures: Ints, classes: int, run: Run) -> Finding:
    """Return the share of answers that name the shape, among those that name shape or texture.

    It is not testable where both together are named no more often than two classes at random. The control tosses which
    of the two cues is called the shape.

    Args:
        name: of the model.
        about: name of the table.
        predicted: (N,) class positions.
        shapes: (N,) class positions of the shapes.
        textures: (N,) class positions of the textures.
        classes: K.
        run: seed of the control.
    """
    shape, texture, n = cues(predicted, shapes, textures)
    decided = shape + texture
    if reason := too_few(n) or at_chance(decided, n, min(0.99, 2 / classes)):
        return Finding.not_testable(name, "shape_bias", reason, about=about, count=n)
    coins = int(np.random.default_rng(run.integer("cues")).binomial(decided, 0.5))
    value = shape / decided
    return Finding(
        name, "shape_bias", value, wilson(shape, decided), about,
        {"answers": decided / n, "shape": shape, "texture": texture},
        range=(0.0, 1.0), count=decided, counted="answers",
        control=Control("cues_swapped_at_random", coins / decided, wilson(coins, decided), expected=0.5),
        says=f"Where shape and texture speak for two classes, it follows the shape in {100 * value:.0f} % of its "
        f"answers, the texture in the others.",
        advice="A model that follows texture fails on drawings, logos and unusual materials: try a larger CLIP.",
    )  # fmt: skip
