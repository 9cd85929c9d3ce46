"""encode, systems, check, doctor, models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych import catalog
from tests.support.colours import colour_folder

Cli = Callable[..., Any]


def test_encode_photos_and_texts(diptych: Cli, colours: Path, tmp_path: Path) -> None:
    got = diptych("encode", colours, "--out", "emb", "--json")
    assert got.code == 0
    assert got.data["items"] == 70
    assert np.load("emb/img_emb/img_emb_0.npy").shape == (70, 4)
    assert diptych("encode", colours, "--out", "emb").code == 2
    (tmp_path / "texts.txt").write_text("red\n\nblue\n")
    got = diptych("encode", "--texts", "texts.txt", "--out", "emb2")
    assert got.out == "2 vectors of 4 numbers in emb2\n"
    (tmp_path / "none.txt").write_text("\n")
    for words in ([], [str(colours), "--texts", "texts.txt"], ["--texts", "absent.txt"], ["absent"]):
        assert diptych("encode", *words).code == 2
    assert diptych("encode", "--texts", "none.txt").code == 1


def test_encode_skips_and_says_so(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "d", {"": 2}, ["red"])
    (folder / "red" / "0.png").write_bytes(b"x")
    got = diptych("encode", folder, "--out", "emb", "--json")
    assert got.code == 3
    assert got.data["items"] == 1


def test_systems_come_from_the_cards(diptych: Cli) -> None:
    got = diptych("systems", "--json")
    assert [c["slug"] for c in got.data] == [c["slug"] for c in catalog.cards()]
    for slug in ("gda", "tip-adapter-f"):
        assert slug in diptych("systems", "--verb", "classify").out
        card = next(c for c in catalog.cards() if c["slug"] == slug)
        assert card["title"] in diptych("systems", slug).out
    assert diptych("systems", "gda", "--json").data["year"] == 2024
    got = diptych("systems", "gpa")
    assert got.code == 2
    assert "gda" in got.err
    assert diptych("systems", "--verb", "cook").code == 2


def test_check_finds_what_would_spoil_a_run(diptych: Cli, colours: Path, tmp_path: Path) -> None:
    got = diptych("check", colours)
    assert got.code == 0
    assert "40 train, 30 test" in got.out
    folder = colour_folder(tmp_path / "d", {"train": 5, "test": 5})
    (folder / "test" / "red" / "0.png").write_bytes((folder / "train" / "red" / "0.png").read_bytes())
    got = diptych("check", folder, "--json")
    assert got.code == 1
    assert "duplicate-across-splits" in {f["kind"] for f in got.data["findings"]}
    assert diptych("check", tmp_path / "absent").code == 2


def test_doctor_speaks_json_and_fails_where_the_backbone_does(diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.tasks.doctor.NEEDED", ("numpy",))
    got = diptych("doctor", "--json")
    assert got.code == 0
    assert got.data["ok"]

    def fail(name: str) -> None:
        raise RuntimeError("no weights")

    monkeypatch.setattr("diptych.backbones.sources.load.load", fail)
    got = diptych("doctor")
    assert got.code == 1
    assert "no weights" in got.out


def test_models_are_listed_and_described(diptych: Cli) -> None:
    got = diptych("models", "list", "vit-h-14/laion", "--json")
    assert got.data == ["ViT-H-14/laion2b_s32b_b79k"]
    assert diptych("models", "list").out.startswith("lite\ntiny\n")
    got = diptych("models", "info", "colours", "--json")
    assert got.data["hooks"] == {"tower:image": False, "tower:text": False, "dense": False}
    assert got.data["encoders"].keys() == {"image", "text"}
    assert "pixels size" in diptych("models", "info", "colours").out
