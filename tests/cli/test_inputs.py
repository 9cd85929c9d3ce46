"""Inputs that are no plain photos: names that are no UTF-8, which every verb writes escaped, and clips."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.colours import COLOURS, coloured
from tests.support.moving import video
from tests.support.small_clip import small_clip

Cli = Callable[..., Any]
ODD = os.fsdecode(b"caf\xe9")
"""A name in Latin-1."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Class folders, one of which, and a photo in which, have such a name."""
    for split in ("train", "test"):
        for name in COLOURS:
            for i in range(3):
                coloured(tmp_path / "photos" / split / name / f"{i}.png", name, i)
        (tmp_path / "photos" / split / "red" / "0.png").rename(tmp_path / "photos" / split / "red" / f"{ODD}.png")
    for i in range(3):
        path = coloured(tmp_path / "photos" / "test" / f"{ODD} red" / f"{i}.png", "red", i)
        (tmp_path / "photos" / "train" / f"{ODD} red").mkdir(exist_ok=True)
        (tmp_path / "photos" / "train" / f"{ODD} red" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "photos"


def written(folder: Path) -> str:
    """All text that was written below a folder, which is UTF-8."""
    kinds = (".json", ".csv", ".html", ".jsonl")
    return "".join(p.read_text(encoding="utf-8") for p in sorted(folder.rglob("*")) if p.suffix in kinds)


@pytest.mark.parametrize(
    "words",
    [
        "classify photos/test --names red,green --out out/x.json",
        "classify photos/test --names red,green --out out/x.csv",
        "classify photos/test --names red,green --out out/x.html",
        "classify photos --out out/x.json",
        "caption photos/test/red --texts words.txt --out out/x.json",
        "detect photos/test/red --normal photos/train/red --method gaussian --out out",
        "encode photos --out out",
        "board classify photos --methods zero-shot,gda --shots 1 --seeds 1 --out out",
        "board few-shot photos --methods gda --shots 1 --seeds 1 --out out",
    ],
)
def test_a_verb_writes_names_that_are_no_utf8(words: str, diptych: Cli, photos: Path) -> None:
    Path("words.txt").write_text("a red thing\na green thing\n")
    for json_flag in ((), ("--json",)):
        got = diptych(*words.split(), *json_flag, *(("--overwrite",) if json_flag else ()))
        assert got.code == 0, got.err
        if json_flag:
            assert got.data
    assert "\\udce9" in written(Path("out")) or words.startswith(("board", "encode"))


def test_json_reads_the_name_back_and_csv_shows_it(diptych: Cli, photos: Path) -> None:
    assert diptych("classify", "photos/test/red", "--names", "red,green", "--out", "x.json").code == 0
    paths = [Path(p["path"]) for p in json.loads(Path("x.json").read_text())["predictions"]]
    assert photos / "test" / "red" / f"{ODD}.png" in [p.absolute() for p in paths]
    assert all(p.exists() for p in paths)
    assert diptych("classify", "photos/test/red", "--names", "red,green", "--out", "x.csv").code == 0
    assert any("caf\\udce9.png" in line for line in Path("x.csv").read_text(encoding="utf-8").splitlines())


def test_an_index_finds_and_forgets_such_a_name(diptych: Cli, photos: Path) -> None:
    assert diptych("index", photos / "test", "--out", "idx").code == 0
    got = diptych("search", "idx", "red", "--html", "x.html", "--json", "--top", "40")
    assert got.code == 0
    names = [row["path"] for row in got.data["results"]]
    assert str(photos / "test" / "red" / f"{ODD}.png") in names
    assert diptych("index", photos / "test", "--out", "idx", "--json").data["unchanged"] == len(names)
    assert diptych("index", "--out", "idx", "--remove", photos / "test" / "red" / f"{ODD}.png").code == 0


def test_links_name_such_records(diptych: Cli, photos: Path) -> None:
    got = diptych("link", "photos/train/red", "photos/test/red", "--json")
    assert got.code == 0, got.err
    assert "caf\\udce9.png" in Path("links.csv").read_text(encoding="utf-8")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A red video, and a folder of blue frames."""
    (tmp_path / "clips").mkdir()
    video(tmp_path / "clips/a.mp4", 6, colour=(200, 30, 30))
    (tmp_path / "clips/b").mkdir()
    for n in range(3):
        coloured(tmp_path / "clips/b" / f"{n}.png", "blue", n, noise=0)
    return tmp_path / "clips"


def test_videos_and_frame_folders_are_classified(diptych: Cli, clips: Path) -> None:
    got = diptych("classify", clips, "--names", "red, blue", "--frames", "2", "-k", "1")
    assert got.code == 0
    assert [line.split()[:2] for line in got.out.splitlines()] == [["a.mp4", "red"], ["b", "blue"]]
    assert "frames2" in got.err
    alone = diptych("classify", clips / "a.mp4", "--names", "red, blue", "--json", "-k", "1")
    assert alone.data["predictions"][0]["labels"][0]["label"] == "red"
    assert alone.data["backbone"].endswith("+frames8")


def test_without_frames_a_folder_of_pictures_holds_photos(diptych: Cli, clips: Path) -> None:
    got = diptych("classify", clips / "b", "--names", "red, blue", "--json", "-k", "1")
    assert len(got.data["predictions"]) == 3


def test_unreadable_videos_are_named_and_the_code_is_3(diptych: Cli, clips: Path) -> None:
    (clips / "c.mp4").write_bytes(b"no video")
    got = diptych("classify", clips, "--names", "red, blue", "--frames", "2")
    assert got.code == 3
    assert len(got.out.splitlines()) == 2
    assert "c.mp4: damaged, or no video" in got.err


def test_wrong_use_is_said(diptych: Cli, clips: Path, tmp_path: Path) -> None:
    got = diptych("classify", clips, "--names", "red, blue", "--frames", "2", "--model", tmp_path)
    assert got.code == 2
    got = diptych("classify", tmp_path / "absent.mp4", "--names", "red, blue")
    assert (got.code, "no file or folder" in got.err) == (2, True)
    got = diptych("extend", clips, "--tunes", "prompts")
    assert (got.code, "full or heads" in got.err) == (2, True)
    got = diptych("extend", clips, "--names", "a, b")
    assert (got.code, "no train split" in got.err) == (1, True)
    (tmp_path / "clip-model").mkdir()
    (tmp_path / "clip-model/x").touch()
    assert "not empty" in diptych("extend", clips).err
    (tmp_path / "notes.txt").touch()
    got = diptych("extend", clips, "--out", tmp_path / "notes.txt")
    assert (got.code, "notes.txt is a file" in got.err) == (2, True)


def test_a_backbone_is_tuned_kept_and_used(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, colour in (("train", "red"), ("train", "blue"), ("test", "red"), ("test", "blue")):
        for clip in range(3):
            folder = tmp_path / "set" / split / colour / f"clip{clip}"
            folder.mkdir(parents=True)
            for n in range(2):
                coloured(folder / f"{n}.png", colour, 10 * clip + n + (100 if split == "test" else 0))
    from diptych.backbones.sources import openclip_sources

    vit = small_clip(tmp_path / "vit")
    monkeypatch.setattr(
        "diptych.backbones.sources.load.load",
        lambda name="lite", **more: (
            vit
            if name == "lite"
            else openclip_sources.from_folder(Path(name.removeprefix("local:")), name, offline=True)
        ),
    )
    got = diptych("extend", tmp_path / "set", "--frames", "2", "--epochs", "20", "--out", tmp_path / "tuned", "--json")
    assert got.code == 0, got.err
    assert (got.data["clips"], got.data["tested"], got.data["held"]) == (6, 6, "test")
    assert got.data["right"]["vifi-clip"] >= got.data["right"]["frame-mean"]
    used = diptych(
        "classify", tmp_path / "set/test", "--frames", "2", "--backbone", f"local:{tmp_path / 'tuned'}", "--templates",
        "a photo of a {}.",
        "--json", "-k", "1",
    )  # fmt: skip
    assert used.code == 0, used.err
    right = [p["labels"][0]["label"] == Path(p["path"]).parent.name for p in used.data["predictions"]]
    assert sum(right) == got.data["right"]["vifi-clip"]
