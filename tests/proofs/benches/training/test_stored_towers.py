"""Towers that ran before give what the backbone gives."""

from __future__ import annotations

import pytest
import torch

from diptych.core import MissingHook, Run
from diptych.features.whole_and_cells import whole_and_cells
from proofs.benches.training.stored_towers import StoredTowers, stored
from tests.train.test_pair import small, squares


def test_stored_images_and_texts_have_the_vectors_of_the_backbone() -> None:
    space, table = small(), squares(5)
    towers, kept = StoredTowers(space), stored(space, table, Run())
    assert kept.items[2].size == (32, 32)
    assert kept.items.key(2) == table.items.key(2)
    pictures = [table.items[i] for i in range(5)]
    with torch.no_grad():
        x, real = towers.image.inputs([kept.items[i] for i in range(5)]), space.image.inputs(pictures)
        torch.testing.assert_close(towers.image.encode(x), space.image.encode(real))
        torch.testing.assert_close(towers.image.inputs(pictures), x)
        for one, other in zip(whole_and_cells(towers, x), whole_and_cells(space, real), strict=True):
            torch.testing.assert_close(one, other)
        torch.testing.assert_close(
            towers.text.encode(towers.text.inputs(["red", "blue"])),
            space.text.encode(space.text.inputs(["red", "blue"])),
        )
    assert towers.scale()[0].item() == pytest.approx(space.scale()[0].item())


def test_the_scale_alone_is_left_to_train() -> None:
    towers = StoredTowers(small())
    assert [n for n, _ in towers.module().named_parameters()] == ["logit_scale"]
    again = towers.rebuild(towers.module(), towers.spec)
    assert again.image.fingerprint == towers.image.fingerprint
    with torch.no_grad():
        towers.module().logit_scale += 1
    assert towers.rebuild(towers.module(), towers.spec).image.fingerprint != again.image.fingerprint
    tower = towers.tower("image")
    for call in (lambda: tower.attend(None, 0), lambda: tower.rest(None, 0, None), towers.dense):
        with pytest.raises(MissingHook):
            call()
    with pytest.raises(MissingHook):
        towers.tower("text")
