"""Objects as JSON and named tensors; whole folders are in ``test_portable.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.core import ClassNames, DataError, UsageError
from diptych.features.packing import named_tensors, of_arrays, pack, packed_plain, plain, to_arrays, unpack
from diptych.methods.classify.linear_probe import LinearProbe


def test_what_is_packed_names_its_tensors_by_their_place() -> None:
    content, tensors, spaces = pack([{"a": torch.ones(2)}, (np.zeros((1, 3)), "b")])
    assert content == {"list": [{"dict": {"a": {"tensor": "list.0.a"}}}, {"tuple": [{"array": "list.1.0"}, "b"]}]}
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {"list.0.a": (2,), "list.1.0": (1, 3)}
    assert sorted(named_tensors(content)) == sorted(tensors)
    assert not spaces
    first, (second, word) = unpack(content, tensors, spaces, Path("head"))
    assert torch.equal(first["a"], torch.ones(2))
    assert (second.shape, word) == ((1, 3), "b")


def test_arrays_of_frozen_dataclasses_come_back() -> None:
    value = [ClassNames(("fox", "oak")), np.arange(3)]
    content, arrays = to_arrays(value)
    names, numbers = of_arrays(content, arrays, Path("rows.npz"))
    assert names == value[0]
    assert np.array_equal(numbers, np.arange(3))


def test_a_setting_holds_no_tensor() -> None:
    with pytest.raises(UsageError, match=r"^system\.1 is no plain value"):
        packed_plain((1, torch.ones(1)), "system")


def test_an_unknown_kind_of_value_and_unknown_fields_are_refused() -> None:
    with pytest.raises(DataError, match=r"head holds an unknown kind of value, 'pickle'"):
        plain({"pickle": "gASV"}, Path("head"))
    packed = packed_plain(LinearProbe(), "system")
    packed["fields"]["epochs"] = 3
    with pytest.raises(DataError, match=r"head: fields of LinearProbe differ: epochs"):
        plain(packed, Path("head"))


def test_a_probe_that_was_kept_with_the_former_name_of_its_penalty_is_read(tmp_path: Path) -> None:
    packed = packed_plain(LinearProbe(C=2.0), "system")
    packed["fields"]["c"] = packed["fields"].pop("C")
    assert plain(packed, tmp_path) == LinearProbe(C=2.0)
