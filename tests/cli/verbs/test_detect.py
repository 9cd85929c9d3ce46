from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from diptych.core import Anomaly, Run
from diptych.methods.detect.feature_memory import FittedFeatureMemory
from tests.support.dense_colours import DenseColours
from tests.support.image_files import truncated
from tests.support.scratches import scratched_folder

Cli = Callable[..., Any]


@pytest.fixture
def plate(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: DenseColours(name=name))
    return scratched_folder(tmp_path / "plate", train=24, good=3, bad=3)


def test_normal_photos_give_scores_flags_and_heat_maps(diptych: Cli, plate: Path, tmp_path: Path) -> None:
    got = diptych("detect", plate / "test", "--normal", plate / "train", "--false-alarm-rate", "0.1")
    assert got.code == 0
    lines = got.out.splitlines()
    assert len(lines) == 6
    assert all(line.endswith("anomalous") for line in lines[:3])
    assert "9 kept aside" in got.err
    assert len(list((tmp_path / "anomalies").glob("*.heat.png"))) == 6
    data = json.loads((tmp_path / "anomalies" / "detect.json").read_text())
    assert (data["method"], data["false_alarm_rate"]) == ("feature-memory", 0.1)
    assert sum(p["flagged"] for p in data["photos"]) >= 3
    errors = data["labelled"]
    assert (errors["normal"], errors["anomalous"], errors["detected"]) == (["good"], 3, 1.0)
    assert "3 of 6 photos are anomalous: AUROC 100.0 %, EER 0.0 %" in got.err
    assert f"ACER {100 * errors['acer']:.1f} %" in got.err
    again = diptych("detect", plate / "test", "--normal", plate / "train")
    assert again.code == 2
    assert "--overwrite" in again.err


def test_a_command_that_was_stopped_goes_on_and_ends_with_the_same_files(
    diptych: Cli, plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("detect", plate / "test", "--normal", plate / "train", "--false-alarm-rate", "0.1", "--batch", "2")
    whole, scored, detect = diptych(*asked, "--out", "whole"), list[str](), FittedFeatureMemory.detect
    limit = [13]

    def noted(self: Any, images: Any, run: Run) -> Iterator[Anomaly]:
        for i, anomaly in enumerate(detect(self, images, run)):
            if len(scored) == limit[0]:
                raise KeyboardInterrupt
            scored.append(images.name(i))
            yield anomaly

    monkeypatch.setattr(FittedFeatureMemory, "detect", noted)
    got = diptych(*asked, "--out", "o")
    assert (got.code, len(scored)) == (130, 13)
    assert "Interrupted: what was finished is in o/unfinished" in got.err
    scored.clear()
    again = diptych(*asked, "--out", "o")
    assert (again.code, again.out, len(scored)) == (0, whole.out, 2)
    files = [
        {p.name: p.read_bytes().replace(b'"o/', b'"whole/') for p in (tmp_path / f).iterdir()} for f in ("o", "whole")
    ]
    assert files[0] == files[1]


def test_photos_that_are_given_as_normal_ones_too_are_counted(diptych: Cli, plate: Path) -> None:
    shutil.copy(plate / "train/good/0.png", plate / "test/good/copy.png")
    got = diptych("detect", plate / "test", "--normal", plate / "train", "--method", "gaussian")
    assert got.code == 0
    assert "1 of 7 photos is also given as --normal. Such photos score low, or below the threshold" in got.err


def test_neighbouring_frames_are_named_and_kept_aside_by_stretches(diptych: Cli, plate: Path, tmp_path: Path) -> None:
    (tmp_path / "film").mkdir()
    for i, photo in enumerate(sorted((plate / "train/good").glob("*.png"))):
        for j in range(3):
            shutil.copy(photo, tmp_path / "film" / f"{3 * i + j}.png")
    got = diptych(
        "detect", plate / "test/good", "--normal", tmp_path / "film", "--false-alarm-rate", "0.1", "--out", "o"
    )
    assert got.code == 0
    assert "48 normal photos are near-duplicates of the next, such as 0.png and 1.png" in got.err
    assert "kept aside by whole stretches" in got.err
    assert "also given as --normal" not in got.err
    normal = json.loads((tmp_path / "o" / "detect.json").read_text())["normal"]
    assert (normal["stretches_aside"], normal["rate_held"], len(normal["near_duplicates"])) == (9, True, 48)


def test_a_detector_of_words_asks_for_a_word(diptych: Cli, plate: Path) -> None:
    given = ("detect", plate / "test/good/0.png", "--normal", plate / "train/good", "--method", "winclip-style")
    given += ("--false-alarm-rate", "0.5")
    assert "say what the photos show with --object" in diptych(*given, "--out", "a").err
    assert "say what the photos show" not in diptych(*given, "--object", "plate", "--out", "b").err


def test_words_alone_and_json(diptych: Cli, plate: Path) -> None:
    got = diptych("detect", plate / "test/good/0.png", "--object", "plate", "--json", "--out", "o")
    assert got.code == 0
    assert got.data["method"] == "winclip-style"
    assert got.data["photos"][0]["flagged"] is None
    assert "nothing is flagged: --false-alarm-rate 0.1 with photos in --normal sets a threshold.\n" in got.err
    assert Path(got.data["photos"][0]["heat_map"]).exists()


def test_a_broken_photo_is_named_and_the_code_is_3(diptych: Cli, plate: Path) -> None:
    truncated(plate / "test/good/half.jpg")
    got = diptych("detect", plate / "test", "--normal", plate / "train/good", "--method", "gaussian")
    assert got.code == 3
    assert "half.jpg" in got.err
    assert "has no maps" in got.err
    got = diptych("detect", plate / "test/good/half.jpg", "--object", "plate", "--out", "none")
    assert (got.code, got.err.count("\n")) == (1, 1)
    assert got.err.startswith("The only photo cannot be read: ")
    assert "half.jpg: truncated" in got.err
    assert not Path("none").exists()


def test_the_board_shows_all_detectors(diptych: Cli, plate: Path, tmp_path: Path) -> None:
    got = diptych("board", "detect", plate, "--methods", "gaussian,feature-memory,anomalyclip", "--seeds", "1,2")
    assert "alarms at a rate of 0.1" in " ".join(got.out.split())
    assert got.code == 0
    assert "feature-memory" in got.out
    assert "anomalyclip did not run" in got.err
    assert json.loads((tmp_path / "out/board-detect/board.json").read_text())["object"] == "plate"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["plate/test"], 2, "Say what is normal"),
        (["plate/test", "--normal", "nowhere"], 2, "There is no folder"),
        (["nowhere", "--normal", "plate/train"], 2, "no file"),
        (["plate/test", "--normal", "empty"], 1, "No normal photos"),
        (["plate/test", "--object", "plate", "--false-alarm-rate", "0.1"], 2, "--normal"),
        (["plate/test", "--normal", "plate/train", "--false-alarm-rate", "0.01"], 1, "at least 101"),
        (["plate/test", "--normal", "plate/train", "--method", "gda"], 2, "no detector"),
        (
            ["plate/test", "--normal", "plate/train", "--method", "gaussian", "--object", "plate"],
            2,
            "but winclip-style does: leave it out",
        ),
        (["plate/test", "--normal", "plate/train", "--method", "anomalyclip"], 2, "give --auxiliary"),
        (["plate/test", "--auxiliary", "plate", "--method", "anomalyclip"], 1, "no image tower"),
        (["plate/test", "--object", "nut", "--method", "gaussian"], 2, "does not read --object"),
    ],
)
def test_wrong_calls_are_one_sentence(diptych: Cli, plate: Path, words: list[str], code: int, says: str) -> None:
    (plate.parent / "empty").mkdir()
    got = diptych("detect", *words)
    assert got.code == code
    assert says in got.err
    assert got.out == ""


def test_what_a_killed_run_left_is_written_over(diptych: Cli, plate: Path) -> None:
    words = ("detect", plate / "test", "--normal", plate / "train", "--out", "o")
    assert diptych(*words).code == 0
    maps = sorted(Path("o").glob("*.heat.png"))
    assert maps
    Path("o/detect.json").unlink()
    maps[0].write_bytes(b"half")
    assert diptych(*words).code == 0
    assert maps[0].read_bytes()[:4] == b"\x89PNG"
    assert diptych(*words).code == 2
