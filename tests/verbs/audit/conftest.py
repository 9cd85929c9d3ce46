from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.colours import COLOURS, ColourBackbone, coloured


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with 60 pictures of three colours in two lights and their table; any backbone knows colours."""
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone(name=name))
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rows = ["path,class,light"]
    for i in range(60):
        name, light = list(COLOURS)[i % 3], "dim" if i // 3 % 2 else "bright"
        shown = list(COLOURS)[(i + 1) % 3] if light == "dim" and i % 4 else name
        coloured(tmp_path / "set" / f"{i}.png", shown, i, noise=5.0)
        rows.append(f"{i}.png,{name},{light}")
    (tmp_path / "set" / "labels.csv").write_text("\n".join(rows))
