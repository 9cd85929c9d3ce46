from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.colours import ColourBackbone, coloured


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a pool of texts, their metadata and a table of pairs; any backbone knows colours."""
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone(name=name))
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool.txt").write_text("\n".join("a cat" if i % 10 else "an axolotl" for i in range(100)) + "\nIMG_1")
    (tmp_path / "names.txt").write_text("cat\naxolotl\ndog")
    rows = [f"{colour}{i}.png,a {colour} car\n" for colour in ("red", "blue") for i in range(6)]
    for i in range(6):
        coloured(tmp_path / f"red{i}.png", "red", i)
        coloured(tmp_path / f"blue{i}.png", "blue", i)
    (tmp_path / "pairs.csv").write_text("filepath,title\n" + "".join([*rows, "red0.png,a blue car\n"]))
