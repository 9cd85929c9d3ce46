"""Features of towers: maps, tokens and embeddings are those of the library's own forward pass."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from diptych.backbones.sources.load import load
from diptych.core import MissingHook
from diptych.nn.tower_features import image_features, resized, same_tokens, text_features
from tests.support.colours import ColourBackbone
from tests.train.test_pair import Squares, small


@pytest.mark.parametrize("name", ["tiny", "lite"])
@torch.no_grad()
def test_one_pass_gives_the_embedding_and_the_last_map(name: str) -> None:
    space = load(name)
    x = space.image.inputs([Squares(5)[i] for i in range(2)])
    both = image_features(space, x, maps=True)
    torch.testing.assert_close(both["embedding"][:, 0], space.image.encode(x), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(both["map"].movedim(-1, 1), space.dense().maps(x)[-1], atol=1e-5, rtol=1e-4)
    assert torch.equal(image_features(space, x, maps=False)["embedding"][:, 0], space.image.encode(x))


@torch.no_grad()
def test_tokens_up_to_the_end_and_the_embedding() -> None:
    space = small()
    x = space.text.inputs(["red", "a red square"])
    found, valid = text_features(space, x, tokens=True, project=True)
    assert valid.sum(1).tolist() == [3, 5]
    torch.testing.assert_close(found["embedding"][:, 0], space.text.encode(x))
    ends = found["tokens"][torch.arange(2), valid.sum(1) - 1]
    torch.testing.assert_close(ends, found["embedding"][:, 0])
    plain, _ = text_features(space, x, tokens=True, project=False)
    assert plain["tokens"].shape[-1] == space.tower("text").width
    alone, none = text_features(space, x, tokens=False, project=False)
    assert set(alone) == {"embedding"}
    assert none.shape == (2, 0)


def test_tokenizers_are_compared_by_their_ids() -> None:
    assert same_tokens(small(), load("tiny"), ["blue"])
    assert not same_tokens(small(), load("lite"), ["blue"])
    assert not same_tokens(small(), ColourBackbone(), [])


def test_maps_are_resized_bilinearly() -> None:
    f = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    by_hand = F.interpolate(f.movedim(-1, 1), (6, 2), mode="bilinear", align_corners=False)
    assert torch.equal(resized(f, (6, 2)), by_hand.movedim(1, -1))
    assert resized(f, (3, 5)) is f


def test_a_space_without_maps_is_refused() -> None:
    with pytest.raises(MissingHook):
        image_features(ColourBackbone(), torch.zeros(1, 3, 8, 8), maps=True)
