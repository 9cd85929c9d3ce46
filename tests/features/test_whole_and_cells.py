"""Image tokens come with the embedding of the encoder."""

from __future__ import annotations

import pytest
import torch

from diptych.core import MissingHook
from diptych.features.whole_and_cells import whole_and_cells
from tests.support.colours import ColourBackbone
from tests.train.test_pair import Squares, small


def test_image_tokens_come_with_the_embedding() -> None:
    space = small()
    x = space.image.inputs([Squares(2)[i] for i in range(2)])
    whole, cells = whole_and_cells(space, x)
    torch.testing.assert_close(whole, space.image.encode(x))
    torch.testing.assert_close(cells, space.dense().maps(x)[0])
    with pytest.raises(MissingHook):
        whole_and_cells(ColourBackbone(), torch.zeros(1, 3))
