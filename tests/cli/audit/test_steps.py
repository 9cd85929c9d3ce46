from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.colours import COLOURS, coloured
from tests.support.deep_backbone import DeepBackbone
from tests.support.image_files import truncated

Cli = Callable[..., Any]


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    rows = ["path,class,light"]
    rng = np.random.default_rng(0)
    for i in range(120):
        name = list(COLOURS)[i % 3]
        light = "dim" if i % 2 else "bright"
        shown = list(COLOURS)[int(rng.integers(3))] if light == "dim" else name
        coloured(tmp_path / "set" / f"{i}.png", shown, i, noise=5.0)
        rows.append(f"{i}.png,{name},{light}")
    (tmp_path / "set" / "labels.csv").write_text("\n".join(rows))
    return tmp_path / "set"


def test_groups(diptych: Cli, groups: Path) -> None:
    got = diptych("audit", "groups", groups, "--group", "light", "--json", "--out", "g.json")
    assert got.code == 0
    drop = next(f for f in got.data["findings"] if f["measure"] == "drop" and not f["about"])
    assert drop["interval"][0] > 0.3
    assert drop["control"]["measure"] == "drop_random_groups"
    assert drop["control"]["held"]
    assert json.loads(Path("g.json").read_text())["reference"] == "lite"
    truncated(groups / "0.png")
    got = diptych("audit", "groups", groups, "--group", "light")
    assert got.code == 3
    assert "bright" in got.out
    assert "0.png" in got.err


@pytest.fixture
def pairs(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: DeepBackbone())
    for name in ("red", "blue"):
        coloured(tmp_path / f"{name}.png", name, 1)
    (tmp_path / "pairs.csv").write_text("image,title\nred.png,a <red> wall\nblue.png,a blue sea .\n")
    return tmp_path / "pairs.csv"


def test_pairs_in_terminal_json_and_page(diptych: Cli, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import functools

    from diptych.methods.audit import clip4dm

    shallow = functools.partialmethod(clip4dm.CLIP4DM.__init__, layers=2)
    monkeypatch.setattr(clip4dm.CLIP4DM, "__init__", shallow)
    got = diptych("audit", "pairs", pairs, "--choice", "most-negative", "--out", "p.html")
    assert got.code == 0
    assert got.out.count("[") == 2
    page = Path("p.html").read_text()
    assert page.count('class="wrong"') == 2
    assert "&lt;red&gt;" in page
    assert "<script" not in page
    got = diptych("audit", "pairs", pairs, "--threshold", "1", "--json")
    rows = got.data["pairs"]
    assert [r["score"] for r in rows] == sorted(r["score"] for r in rows)
    assert all(p["chosen"] for r in rows for p in r["parts"] if p["text"] != ".")


def test_pairs_stand_out_among_right_ones(diptych: Cli, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import functools

    from diptych.methods.audit import clip4dm

    shallow = functools.partialmethod(clip4dm.CLIP4DM.__init__, layers=2)
    monkeypatch.setattr(clip4dm.CLIP4DM, "__init__", shallow)
    pairs.with_name("right.csv").write_text("image,title\n" + "red.png,a red wall\nblue.png,a blue sea\n" * 10)
    got = diptych("audit", "pairs", pairs, "--clean", "right.csv", "--false-alarm-rate", "0.1", "--json")
    assert got.data["right_captions"] == {"rate": 0.1, "captions": 20, "source": "right.csv", "clothes": 0}
    assert [r["cosine"] for r in got.data["pairs"]] == sorted(r["cosine"] for r in got.data["pairs"])
    got = diptych("audit", "pairs", pairs, "--clean", "right.csv", "--false-alarm-rate", "0.1")
    assert "measured on 20 right captions of right.csv" in got.err
    got = diptych("audit", "pairs", pairs, "--clean", "pairs.csv")
    assert "2 right captions are too few for a rate of 0.05: give 19 or more" in got.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["groups", "set"], 2, "--group"),
        (["groups", "absent", "--group", "light"], 2, "no file or folder"),
        (["groups", "set", "--group", "light", "--selection", "both"], 2, "one of 'half', 'all'"),
        (["pairs", "absent.csv"], 2, "no file or folder"),
        (["pairs", "pairs.csv", "--text", "said"], 1, "--text"),
        (["pairs", "pairs.csv", "--choice", "lowest"], 2, "most-negative"),
        (["pairs", "pairs.csv", "--out", "p.pdf"], 2, ".html"),
        (["pairs", "pairs.csv", "--clean", "pairs.csv", "--threshold", "0"], 2, "leave --choice"),
    ],
)
def test_errors_are_one_sentence(
    diptych: Cli, groups: Path, pairs: Path, words: list[str], code: int, says: str
) -> None:
    got = diptych("audit", *words)
    assert got.code == code
    assert says in got.err
