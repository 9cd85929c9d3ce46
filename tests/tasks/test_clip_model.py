from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diptych.core import Kit, UsageError
from diptych.features.portable import load
from diptych.tasks.clip_model import clip_model
from tests.cli.conftest import diptych  # noqa: F401
from tests.support.colours import coloured
from tests.support.small_clip import small_clip

Cli = Callable[..., Any]


def test_alignment_is_trained_kept_and_used(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    for split in ("train", "test"):
        for colour in ("red", "blue"):
            for clip in range(4):
                folder = tmp_path / "set" / split / colour / f"clip{clip}"
                folder.mkdir(parents=True)
                for n in range(2):
                    coloured(folder / f"{n}.png", colour, 10 * clip + n + (100 if split == "test" else 0))
    vit = small_clip(tmp_path / "vit")
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: vit)
    out = tmp_path / "aligned"
    out.mkdir()
    options = ("--frames", "2", "--method", "ila")
    got = diptych("extend", tmp_path / "set", *options, "--epochs", "12", "--out", out, "--json")
    assert got.code == 0, got.err
    assert (got.data["method"], got.data["clips"], got.data["tested"]) == ("ila", 8, 8)
    used = diptych("classify", tmp_path / "set/test", "--model", out, "--json", "-k", "1")
    assert used.code == 0, used.err
    right = [p["labels"][0]["label"] == Path(p["path"]).parent.name for p in used.data["predictions"]]
    assert sum(right) == got.data["right"]["ila"]
    own = load(out, Kit({"main": vit}))
    older = replace(own, state={n: t for n, t in own.state.items() if not n.startswith("prompts.after")})
    with pytest.raises(UsageError, match="earlier version"):
        older.space()
    got = diptych("classify", tmp_path / "set/test", "--model", out, "--frames", "3")
    assert (got.code, "2 frames a clip" in got.err) == (2, True)
    got = diptych("extend", tmp_path / "set", "--method", "ila", "--frames", "1", "--out", tmp_path / "x")
    assert (got.code, "--frames 2 or more" in got.err) == (2, True)
    assert "vifi-clip or ila" in diptych("extend", tmp_path / "set", "--method", "mean", "--out", tmp_path / "x").err


def test_other_folders_hold_no_model_of_clips(tmp_path: Path) -> None:
    assert clip_model(tmp_path) is None
    for text in ("no json", "{}", '{"fitted": {"class": "gda:FittedGDA", "fields": {}}}', '{"fitted": []}'):
        (tmp_path / "fitted.json").write_text(text)
        assert clip_model(tmp_path) is None
