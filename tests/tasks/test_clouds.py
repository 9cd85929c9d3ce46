from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import diptych  # noqa: F401
from tests.support.clouds import shape
from tests.support.small_clip import small_clip

Cli = Callable[..., Any]
KINDS = ("box", "stick", "plate")


@pytest.fixture
def clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three kinds of clouds, five to learn from and three to test on, and a small random backbone."""
    for split, count in (("train", 5), ("test", 3)):
        for k, kind in enumerate(KINDS):
            folder = tmp_path / "set" / split / kind
            folder.mkdir(parents=True)
            for n in range(count):
                np.savetxt(folder / f"{n}.xyz", shape(k, n + (50 if split == "test" else 0)).points)
    vit = small_clip(tmp_path / "vit")
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: vit)
    return tmp_path / "set"


def test_clouds_are_named_by_words_alone(diptych: Cli, clouds: Path) -> None:  # noqa: F811
    got = diptych("classify", clouds / "test", "--templates", "image of a {}.", "-k", "1", "--json")
    assert got.code == 0, got.err
    assert len(got.data["predictions"]) == 9
    assert got.data["backbone"].endswith("+clouds6")
    (clouds / "test/box/bad.xyz").write_text("no numbers\n")
    got = diptych("classify", clouds / "test", "--names", "box, plate")
    assert (got.code, "bad.xyz: damaged .xyz file" in got.err) == (3, True)


def test_adapters_are_trained_kept_and_used(diptych: Cli, clouds: Path, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "adapters"
    got = diptych("extend", clouds, "--epochs", "60", "--template", "image of a {}.", "--out", out, "--json")
    assert got.code == 0, got.err
    assert (got.data["clouds"], got.data["tested"], got.data["held"]) == (15, 9, "test")
    assert got.data["right"]["clip2point"] > got.data["right"]["zero-shot"]
    used = diptych("classify", clouds / "test", "--model", out, "--json", "-k", "1")
    assert used.code == 0, used.err
    right = [p["labels"][0]["label"] == Path(p["path"]).parent.name for p in used.data["predictions"]]
    assert sum(right) == got.data["right"]["clip2point"]
    again = diptych("extend", clouds, "--out", out)
    assert (again.code, "exists" in again.err) == (2, True)


def test_wrong_use_is_said(diptych: Cli, clouds: Path, tmp_path: Path) -> None:  # noqa: F811
    got = diptych("classify", clouds, "--names", "a, b", "--frames", "2")
    assert (got.code, "--frames and no page" in got.err) == (2, True)
    got = diptych("extend", clouds, "--label", "kind", "--out", tmp_path / "x")
    assert (got.code, "light curves" in got.err) == (2, True)
    got = diptych("extend", clouds / "train/box", "--out", tmp_path / "x")
    assert (got.code, "no class folders" in got.err) == (2, True)
    got = diptych("extend", clouds / "train", "--out", tmp_path / "x")
    assert (got.code, "no train split" in got.err) == (1, True)
