from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.colours import COLOURS, ColourBackbone, coloured
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


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Three colours, 12 test and 4 training pictures each; and others that are no class."""
    for split, n in (("test", 12), ("train", 4)):
        for k, name in enumerate(list(COLOURS)[:3]):
            (tmp_path / "own" / split / name).mkdir(parents=True)
            for i in range(n):
                coloured(tmp_path / "own" / split / name / f"{i}.png", name, 100 * k + i + len(split), noise=5.0)
    for i in range(10):
        (tmp_path / "other").mkdir(exist_ok=True)
        coloured(tmp_path / "other" / f"{i}.png", list(COLOURS)[i % 3], 900 + i, noise=90.0)
    return tmp_path / "own"


def test_a_report_is_a_page_a_file_and_a_gate(diptych: Cli, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone(name=name))
    got = diptych("audit", "report", own, "--ood", "noise=other", "--out", "r.html", "--at-most", "drop=1")
    assert got.code == 0
    page = Path("r.html").read_text()
    assert "data:image/jpeg" in page
    assert "<script" not in page
    assert "counteranimal was not run" in got.err
    assert diptych("audit", "report", own, "--out", "r.html").code == 2
    got = diptych(
        "audit", "report", own, "--out", "r.html", "--overwrite", "--no-images", "--only", "holistic-robustness"
    )
    assert got.code == 0
    assert "data:image" not in Path("r.html").read_text()
    truncated(own / "test" / next(iter(COLOURS)) / "0.png")
    got = diptych("audit", "report", own, "--json", "--out", "r.json")
    assert got.code == 3
    assert got.data["findings"] == json.loads(Path("r.json").read_text())["findings"]
    assert len(got.data["skipped"]) == 1
    Path("measured.csv").write_text("model,measure,value\nlite,accuracy in fog,0.25\n")
    got = diptych("audit", "report", own, "--measured", "measured.csv", "--json", "--only", "holistic-robustness")
    assert [f["value"] for f in got.data["findings"] if f["measure"] == "accuracy_in_fog"] == [0.25]
    got = diptych("audit", "report", own, "--at-least", "accuracy=1.01")
    assert got.code == 5, "a broken bound wins over a skipped picture"
    assert "Broken: accuracy at least 1.01" in got.err


def test_a_report_compares_models_and_reads_groups(diptych: Cli, groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone(name=str(name))
    )
    got = diptych(
        "audit", "report", groups, "--group", "light", "--against", "tiny", "--json", "--only", "counteranimal"
    )
    assert got.code == 0
    assert set(got.data["subjects"]) == {"lite", "tiny"}
    drops = {f["subject"]: f["value"] for f in got.data["findings"] if f["measure"] == "drop" and not f["about"]}
    assert drops["lite"] == drops["tiny"] > 0.3


def test_a_report_of_nothing_is_no_success(diptych: Cli, own: Path) -> None:
    got = diptych("audit", "report", own.parent / "other", "--ood", "a=other", "--out", "r.html")
    assert (got.code, got.out) == (1, "")
    assert "Nothing could be tested on" in got.err
    assert not Path("r.html").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--at-most", "drop"], "MEASURE=NUMBER"),
        (["--shift", "=x"], "NAME=DATA"),
        (["--ood", "a=other", "--ood", "a=other"], "new name each time"),
        (["--only", "clip4dm"], "audits no models"),
        (["--shift", "elsewhere=absent"], "no file or folder"),
        (["--out", "r.txt"], ".html"),
    ],
)
def test_bad_input_of_a_report_is_named(diptych: Cli, own: Path, words: list[str], says: str) -> None:
    got = diptych("audit", "report", own, *words)
    assert got.code == 2
    assert says in got.err
