"""The prompter against torch's whole layer, and image tokens against the encoder."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diptych.core import DataError
from diptych.nn.dense.prompter import Prompter, cell_centres, point_code

G = torch.Generator().manual_seed(0)
CELLS, BOXES = torch.randn(2, 8, 2, 3, generator=G), torch.rand(3, 4, generator=G)
OWNER = torch.tensor([0, 0, 1])


def test_codes_against_a_loop() -> None:
    x, y, width = 0.3, 0.8, 14
    turns = np.geomspace(2 * math.pi / 4, 2 * math.pi * 16, 3)
    expected = [f(t * v) for v in (x, y) for f in (math.sin, math.cos) for t in turns]
    np.testing.assert_allclose(point_code(torch.tensor([x, y]), width), [*expected, 0, 0], atol=1e-4)
    assert cell_centres((1, 2), torch.zeros(())).tolist() == [[0.25, 0.5], [0.75, 0.5]]


@pytest.mark.parametrize("pool", ["prompt", "all"])
def test_a_region_is_what_torch_s_layer_makes_of_prompt_and_tokens(pool) -> None:
    torch.manual_seed(0)
    prompter = Prompter(8, 5, pool).eval()
    with torch.no_grad():
        found = prompter.boxes(CELLS, BOXES, OWNER)
        for k in range(3):
            corners = torch.cat([point_code(BOXES[k, :2], 8), point_code(BOXES[k, 2:], 8)])
            tokens = CELLS[OWNER[k]].reshape(8, 6).T + point_code(cell_centres((2, 3), CELLS), 8)
            h = prompter.layer(torch.cat([prompter.of_box(corners)[None], tokens])[None])[0]
            expected = prompter.project(h[0] if pool == "prompt" else h.mean(0))
            torch.testing.assert_close(found[k], expected, atol=1e-5, rtol=1e-4)


def test_texts_and_boxes_are_read_apart_and_nothing_is_finite() -> None:
    prompter, y = Prompter(8, 5), torch.eye(3, 5)
    z = prompter.texts(CELLS, y, OWNER)
    torch.testing.assert_close(prompter.grounded(CELLS, y, OWNER), prompter.box_head(z))
    assert not torch.allclose(z, prompter.boxes(CELLS, BOXES, OWNER))
    none = prompter.boxes(CELLS, BOXES[:0], OWNER[:0])
    assert none.shape == (0, 5)
    none.sum().backward()


def test_a_prompter_comes_back_from_its_tensors() -> None:
    prompter = Prompter(8, 5).eval()
    again = Prompter.of(prompter.state_dict())
    assert torch.equal(again.boxes(CELLS, BOXES, OWNER), prompter.boxes(CELLS, BOXES, OWNER))
    with pytest.raises(DataError, match="are no prompter"):
        Prompter.of({"project.weight": torch.zeros(3, 2)})
