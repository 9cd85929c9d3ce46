"""Maps of a frozen ViT, and its blocks on a map with prompts."""

from __future__ import annotations

import torch

from diptych.data.pixels import normalise
from diptych.nn.frozen_vit_maps import as_input, block_maps, prompted_blocks, prompted_map, tapped
from tests.train.test_pair import Squares, small


def test_maps_are_those_of_the_blocks() -> None:
    space = small()
    tower, x = space.tower("image"), space.image.inputs([Squares(2)[i] for i in range(2)])
    with torch.no_grad():
        maps, last = block_maps(tower, x)
        for i, k in enumerate(tapped(tower.depth)):
            s = tower.blocks(tower.start(x), stop=k + 1)
            torch.testing.assert_close(maps[:, i].flatten(2).transpose(1, 2), s.h[:, 1:])
        torch.testing.assert_close(tower.project(tower.pooled(last)), space.image.encode(x))


def test_prompts_are_seen_in_their_blocks_alone_and_dropped() -> None:
    tower = small().tower("image")
    grid, blocks = tower.start(torch.zeros(1, 3, 32, 32)).grid, prompted_blocks(tower.depth)
    bridge = torch.randn(2, tower.width, *grid, requires_grad=True)
    prompts = torch.randn(2, len(blocks), tower.width, requires_grad=True)
    found = prompted_map(tower, bridge, prompts, 32)
    assert found.shape == bridge.shape
    found.square().sum().backward()
    assert bridge.grad.abs().sum() > 0
    assert (prompts.grad.abs().sum(-1) > 0).all()
    with torch.no_grad():  # by hand: the stem on the map, then one longer block after the other

        def overwrite(stage, i, s):
            s.h.copy_(bridge.flatten(2).transpose(1, 2)) if stage == "patches" else None
            return s

        s = tower.start(torch.zeros(2, 3, 32, 32), edit=overwrite)
        h = s.h
        for i in range(tower.depth):
            h = torch.cat([h, prompts[:, i - blocks.start, None]], 1) if i in blocks else h
            h = tower.layers[i].rest(h, tower.attend(type(s)(h, grid=grid, prefix=1), i), None)
            h = h[:, : s.h.shape[1]]
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), h[:, 1:])


def test_pictures_are_resized_and_normalised() -> None:
    space, pictures = small(), torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(as_input(space, pictures), normalise(pictures, space.spec.pixels))
    assert as_input(space, torch.rand(2, 3, 16, 16)).shape == (2, 3, 32, 32)
