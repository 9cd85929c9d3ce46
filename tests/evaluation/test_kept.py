"""Results in files: read, made, damaged, not writable; and the hash of what decides them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.core import Column, DamagedStore, Run, Subset, Table, Texts, UnreadableItem
from diptych.data.formats.regions import Masks
from diptych.evaluation.kept import Unwritten, described, digest, read_or_make
from tests.support.colours import ColourBackbone


def load(path: Path) -> str:
    text = path.read_text()
    if text == "half":
        raise DamagedStore("half")
    return text


def test_a_result_is_made_once_and_a_damaged_one_again(tmp_path: Path) -> None:
    path, made = tmp_path / "row", list[int]()

    def make() -> str:
        made.append(1)
        return "whole"

    def save(path: Path, text: str) -> None:
        path.write_text(text)

    assert [read_or_make(path, load, make, save) for _ in range(3)] == ["whole"] * 3
    assert len(made) == 1
    path.write_text("half")
    assert read_or_make(path, load, make, save) == path.read_text() == "whole"
    assert len(made) == 2
    assert read_or_make(None, load, make, save) == "whole"
    assert len(made) == 3
    with pytest.raises(Unwritten):
        read_or_make(tmp_path / "row" / "inside", load, make, save)
    with pytest.raises(KeyError):
        read_or_make(tmp_path / "other", load, lambda: {"": ""}["x"], save)
    assert not (tmp_path / "other").exists()


@dataclass(frozen=True)
class Settings:
    """Some settings; the cache decides nothing."""

    size: int
    cache: dict[str, int] = field(default_factory=dict, compare=False)


class Broken(Texts):
    """Samples without a key."""

    def key(self, index: int) -> str:
        """Fail."""
        raise UnreadableItem(self.values[index], "empty file")


def test_equal_values_are_described_alike_and_others_are_not() -> None:
    a = Table(Texts(("x", "y")), {"label": Column("label", np.array([0, 1]))})
    pairs = [
        (a, Table(Subset(Texts(("y", "x")), (1, 0)), a.columns), Table(a.items, {})),
        (Settings(1), Settings(1, {"a": 1}), Settings(2)),
        (np.eye(2), np.eye(2), np.eye(2, dtype=np.float32)),
        (torch.eye(2), torch.eye(2), torch.zeros(2, 2)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2, "b": 1}),
        ({3, 1}, {1, 3}, {1, 2}),
        (partial(int, base=2), partial(int, base=2), partial(int, base=3)),
        (Run(seed=1), Run(seed=1, workers=5), Run(seed=2)),
        (np.array(["a", None], dtype=object), np.array(["a", None], dtype=object), np.array(["b", None], dtype=object)),
        (Masks((1, 2), np.zeros), Masks((1, 2), np.zeros), Masks((1, 2), np.ones)),
        (Broken(("x",)), Broken(("x",)), Broken(("y",))),
    ]
    for one, same, other in pairs:
        assert digest(one) == digest(same) != digest(other), one
    everything = [
        a,
        ColourBackbone(),
        Path("a"),
        replace,
        float,
        KeyError("k"),
        {1},
        {}.get,
        frozenset({1}).__contains__,
    ]
    assert "0x" not in json.dumps(described(everything))
