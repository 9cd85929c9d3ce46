from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.colours import colour_folder

Cli = Callable[..., Any]


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
    numbered = colour_folder(tmp_path / "numbers", {"train": 2, "test": 2})
    for split in numbered.iterdir():
        for number, name in enumerate(sorted(split.iterdir())):
            name.rename(split / str(number))
    assert "give their names with --names, or in a column" in " ".join(diptych("check", numbered).out.split())


def test_check_writes_the_files_concerned(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "d", {"train": 5, "test": 5})
    (folder / "test" / "red" / "0.png").write_bytes((folder / "train" / "red" / "0.png").read_bytes())
    assert diptych("check", folder, "--out", "found.csv").code == 1
    lines = Path("found.csv").read_text().splitlines()
    assert lines[0] == "severity,kind,group,path,what,remedy"
    assert sum(line.startswith("error,duplicate-across-splits,1,") for line in lines) == 2
    again = diptych("check", folder, "--out", "found.csv")
    assert (again.code, "found.csv exists" in again.err) == (2, True)
    assert diptych("check", folder, "--out", "found.json").code == 1
    assert json.loads(Path("found.json").read_text())["ok"] is False
    got = diptych("check", folder, "--out", "found.txt")
    assert (got.code, "--out writes .csv or .json, not 'found.txt'" in got.err) == (2, True)


def test_doctor_says_once_how_an_extra_is_added(diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.tasks.doctor.EXTRAS", {"lora": {"no-peft": "peft"}, "video": {"no-av": "av"}})
    got = diptych("doctor")
    assert "  extra lora, without no-peft\n  extra video, without no-av\nTo add one: pip install" in got.out
    assert "remedy" not in got.out
    assert [s["state"] for s in diptych("doctor", "--json").data["signs"]].count("missing") == 2


def test_doctor_speaks_json_and_fails_where_the_backbone_does(diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.tasks.doctor.NEEDED", ("numpy",))
    got = diptych("doctor", "--json")
    assert got.code == 0
    assert got.data["ok"]

    def fail(name: str) -> None:
        raise RuntimeError("no weights")

    monkeypatch.setattr("diptych.backbones.sources.load.load", fail)
    got = diptych("doctor", "--backbone", "lite")
    assert got.code == 1
    assert "no weights" in got.out
