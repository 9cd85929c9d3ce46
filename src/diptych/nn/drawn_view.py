"""One random view of an item for a training loop: a stored embedding, or an augmented picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from diptych.core import Encoder, Row
from diptych.data.views import ViewRecipe


def drawn_view(row: Row, recipe: ViewRecipe, encoder: Encoder[object], g: Generator) -> Tensor:
    """Return one of the views of an item, each with the same probability.

    Args:
        row: its item is a picture, or a tensor of ``recipe.draws`` stored embeddings, (A, D).
        recipe: of the views.
        encoder: takes the pixels.
        g: random numbers.

    Returns:
        (D,) the stored embedding, or (3, S, S) normalised pixels.
    """
    draw = int(torch.randint(recipe.draws, (), generator=g))
    if isinstance(row.item, Tensor):
        return row.item[draw]
    pixels = torch.from_numpy(recipe.draw(row.item, encoder.size or 0, row.key, draw).copy())
    x = encoder.inputs([pixels.permute(2, 0, 1).float() / 255])
    assert isinstance(x, Tensor), "image encoders take tensors"
    return x[0]


def labelled_views(
    recipe: ViewRecipe, encoder: Encoder[object]
) -> Callable[[Row, Generator], Mapping[str, Tensor | int]]:
    """Return the function that makes {"x": one drawn view, "y": the label} of a row; see ``drawn_view``."""
    return lambda row, g: {"x": drawn_view(row, recipe, encoder, g), "y": int(row.columns["label"])}
