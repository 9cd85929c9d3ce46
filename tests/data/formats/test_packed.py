from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from diptych.data.folders import ImageFiles
from diptych.data.formats.packed import FEW, Packed, packed
from diptych.data.formats.webdataset import TarImages

NAMES = [os.fsdecode(b"p\xff/\xe4\xb8\xad/%d\n\0.jpg" % (i * i)) for i in range(1000)]


def test_values_come_back_in_any_order_from_several_threads_and_another_process() -> None:
    values = Packed(iter(NAMES))
    assert (len(values), list(values), values[-1], values[990:2000:3]) == (1000, NAMES, NAMES[-1], NAMES[990::3])
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(values.__getitem__, [i * 389 % 1000 for i in range(4000)])) == [
            NAMES[i * 389 % 1000] for i in range(4000)
        ]
    again = pickle.loads(pickle.dumps(values))
    assert again == values
    assert hash(again) == hash(values)
    assert values != Packed(NAMES[:-1])
    with pytest.raises(IndexError):
        values[1000]
    assert list(Packed(())) == []


def test_only_many_values_are_packed_and_once() -> None:
    few, many = packed(iter(range(FEW))), packed(iter(range(FEW + 1)))
    assert few == tuple(range(FEW))
    assert isinstance(many, Packed)
    assert (packed(few), packed(many)) == (few, many)
    assert packed(many) is many
    assert list(packed([0] * (FEW + 1))) == [0] * (FEW + 1)


def test_many_paths_take_a_tenth_of_their_text() -> None:
    paths = [f"/data/photos/{i // 1000:07d}/{i:010d}.jpg" for i in range(100_000)]
    values = Packed(paths)
    assert len(pickle.dumps(values)) < 0.1 * sum(map(len, paths))


def test_names_of_files_and_members_are_read_from_packed_values() -> None:
    files = ImageFiles([f"a/{i}.jpg" for i in range(FEW + 1)])
    assert isinstance(files.paths, Packed)
    assert files.name(FEW) == f"a/{FEW}.jpg"
    members = TarImages(packed(("a.tar", f"{i}.jpg", i, 2 * i) for i in range(FEW + 1)))
    assert members.name(FEW) == f"a.tar!{FEW}.jpg"
    with pytest.raises(Exception, match=r"a.tar!7.jpg.*cannot be read"):
        members.read(7)
