from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.core import Site, UsageError
from diptych.nn.diffusion.attention import OnDisk, Record, cut, difference, fused, outside, replaced_columns, word_map

CROSS, SELF = Site("cross", "mid", 0), Site("self", "mid", 0)


def test_a_record_keeps_what_it_saw_and_replaces_nothing() -> None:
    record = Record(most=16)
    small, large = torch.rand(1, 2, 16, 5), torch.rand(1, 2, 64, 5)
    assert record.at(3)(CROSS, small) is None
    record.at(3)(Site("cross", "up", 1), large)
    record.at(4)(SELF, torch.rand(1, 2, 16, 16))
    assert list(record.maps) == [(3, CROSS), (4, SELF)]
    (only,) = record.cross()
    assert torch.equal(only, small)
    assert record.side == 4


def test_a_record_on_disk_gives_back_what_it_saw(tmp_path: Path) -> None:
    record, plain = Record(maps=OnDisk(tmp_path)), Record()
    g = torch.Generator().manual_seed(0)
    for step in range(3):
        for site, keys in ((CROSS, 5), (SELF, 16)):
            seen = torch.rand(2, 3, 16, keys, generator=g)
            for one in (record, plain):
                one.at(step)(site, seen)
    record.at(0)(CROSS, plain.maps[0, CROSS])  # again: no second file
    assert len(list(tmp_path.iterdir())) == len(record.maps) == 6
    assert all(torch.equal(record.maps[key], t) for key, t in plain.maps.items())
    assert torch.equal(word_map(record.cross(), (1, 2), 4), word_map(plain.cross(), (1, 2), 4))
    record.at(7)(SELF, torch.rand(1, 1, 4, 4).bfloat16())
    assert record.maps[7, SELF].dtype == torch.float32
    del record.maps[7, SELF]
    assert (7, SELF) not in record.maps


def test_the_map_of_a_word_is_its_mean_attention() -> None:
    g = torch.Generator().manual_seed(0)
    maps = [torch.rand(2, 3, 16, 5, generator=g) for _ in range(4)]
    expected = np.mean([m.numpy()[..., 1] + m.numpy()[..., 3] for m in maps], axis=(0, 2)).reshape(2, 4, 4)
    np.testing.assert_allclose(word_map(maps, (1, 3), 4).numpy(), expected, rtol=1e-5)
    even = word_map([torch.full((1, 1, 4, 2), 0.5), torch.full((1, 1, 16, 2), 0.5)], (0,), 4)
    torch.testing.assert_close(even, torch.full((1, 4, 4), 0.5))
    for bad, places in (([], (1,)), (maps, ())):
        with pytest.raises(UsageError, match="not in the text"):
            word_map(bad, places, 4)
    with pytest.raises(UsageError, match="15 cells"):
        word_map([torch.rand(1, 1, 15, 2)], (0,), 4)


def test_frames_are_fused_with_their_neighbours() -> None:
    g = torch.Generator().manual_seed(0)
    maps = torch.rand(5, 2, 2, generator=g)
    w = (0.2, 0.5, 0.3)
    out = []
    for f in range(5):
        near = [(k, w[k + 1]) for k in (-1, 0, 1) if 0 <= f + k < 5]
        out.append(sum(weight * maps[f + k] for k, weight in near) / sum(weight for _, weight in near))
    torch.testing.assert_close(fused(maps, w), torch.stack(out))  # type: ignore[arg-type]
    assert torch.equal(fused(maps[:1]), maps[:1])
    torch.testing.assert_close(fused(maps, (0, 1, 0)), maps)


def test_texts_that_differ_in_one_stretch() -> None:
    old, new = [1, 5, 6, 7, 9], [1, 5, 8, 8, 7, 9]
    assert difference(new, old) == (slice(2, 4), slice(2, 3))
    assert difference(old, old) == (slice(5, 5), slice(5, 5))
    assert difference([1, 5, 6, 9], [1, 7, 9]) == (slice(1, 3), slice(1, 2))


def test_columns_are_put_back_and_rows_still_sum_to_1() -> None:
    own, known = torch.tensor([[[[0.5, 0.25, 0.25]]]]), torch.tensor([[[[0.1, 0.9]]]])
    out = replaced_columns(own, known, {0: 1})
    torch.testing.assert_close(out, torch.tensor([[[[0.9, 0.25, 0.25]]]]) / 1.4)
    torch.testing.assert_close(replaced_columns(own, known, {}), own)


def test_the_cut_against_a_loop() -> None:
    b = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0)) / 5
    b[1] *= 0.1
    found = cut(b, 0.7, 0.05, 4)
    for f in range(2):
        for i in range(4):
            for j in range(4):
                near = b[f, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].max()
                wanted = float(near >= 0.7 * b[f].max()) if b[f].max() >= 0.05 else 0.0
                assert float(found[f, 0, i, j]) == wanted
    assert not cut(torch.zeros(1, 2, 2), 0.0, 0.0, 4).any()
    assert cut(b, 0.0, 0.0, 8).all()


def test_attention_outside_the_map_is_the_known_one() -> None:
    own, known = torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 4, 4)
    m = torch.zeros(1, 1, 4, 4)
    m[0, 0, 0, 3] = 1  # in the second of four cells
    found = outside(own, known, m)
    assert not found[:, :, 1].any()
    assert found[:, :, [0, 2, 3]].all()
