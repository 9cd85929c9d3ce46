from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from diptych.core import Row
from diptych.data.views import ViewRecipe
from diptych.nn.drawn_view import drawn_view
from tests.support.colours import SIDE, ColourEncoder

RECIPE = ViewRecipe(draws=3)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_stored_view_is_one_of_its_rows_and_each_comes_up() -> None:
    stored = torch.arange(12.0).reshape(3, 4)
    row: Any = Row(stored, 0, "key")
    drawn = [drawn_view(row, RECIPE, ColourEncoder("image", SIDE), generator(seed)) for seed in range(40)]
    assert {int(x[0]) for x in drawn} == {0, 4, 8}


def test_a_drawn_view_is_the_recipes_own_as_the_encoder_takes_it() -> None:
    picture = Image.linear_gradient("L").convert("RGB")
    row: Any = Row(picture, 0, "key")
    draw = int(torch.randint(3, (), generator=generator(1)))
    pixels = torch.from_numpy(RECIPE.draw(picture, SIDE, "key", draw).copy()).permute(2, 0, 1).float() / 255
    encoder = ColourEncoder("image", SIDE)
    torch.testing.assert_close(drawn_view(row, RECIPE, encoder, generator(1)), encoder.inputs([pixels])[0])
