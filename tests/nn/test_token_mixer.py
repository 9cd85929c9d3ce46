from __future__ import annotations

import pytest
import torch

from diptych.core import DataError, UsageError
from diptych.nn.token_mixer import additive, interleaved

CLIP, OTHER = torch.randn(2, 5, 3), torch.randn(2, 5, 3)


def test_interleaved_keeps_the_order_of_the_grid() -> None:
    mixed = interleaved(CLIP, OTHER)
    assert mixed.shape == (2, 10, 3)
    for i in range(5):
        assert torch.equal(mixed[:, 2 * i], CLIP[:, i])
        assert torch.equal(mixed[:, 2 * i + 1], OTHER[:, i])


def test_additive_ends_at_either_stream() -> None:
    assert torch.equal(additive(CLIP, OTHER, 0.0), CLIP)
    assert torch.equal(additive(CLIP, OTHER, 1.0), OTHER)
    torch.testing.assert_close(additive(CLIP, OTHER, 0.25), (3 * CLIP + OTHER) / 4)


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match=r"got \(2, 5, 3\) and \(5, 3\)"):
        interleaved(CLIP, OTHER[0])
    with pytest.raises(UsageError, match=r"got 1\.5"):
        additive(CLIP, OTHER, 1.5)
