from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diptych.backbones.engines.engine import Engines
from diptych.cli import options
from diptych.core import MissingEvidence
from tests.support.colours import COLOURS, colour_folder, colour_pool, coloured
from tests.support.image_files import bomb, empty, not_a_picture, truncated

Cli = Callable[..., Any]
NAMES = ",".join(COLOURS)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in COLOURS:
        coloured(tmp_path / "photos" / f"{name}.png", name, 0, noise=0)
    return tmp_path / "photos"


def test_a_folder_of_photos(diptych: Cli, photos: Path) -> None:
    got = diptych("classify", photos, "--names", NAMES, "--top", "1")
    assert got.code == 0
    assert [line.split()[:2] for line in sorted(got.out.splitlines())] == [[f"{n}.png", n] for n in sorted(COLOURS)]
    assert "colours" not in got.out
    assert "lite on cpu, fp32: 5 images in" in got.err
    assert "images/s" in got.err
    assert "all from the cache" in diptych("classify", photos, "--names", NAMES).err


def test_few_photos_wait_for_no_times_of_runtimes(diptych: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few: list[bool] = []
    init = Engines.__init__
    monkeypatch.setattr(Engines, "__init__", lambda *given: few.append(given[-1]) or init(*given))
    for limit in (5, 4):
        monkeypatch.setattr(options, "FEW", limit)
        few.clear()
        assert diptych("classify", photos, "--names", NAMES).code == 0
        assert {*few} == {limit == 5}


def test_json_is_all_that_stands_on_stdout(diptych: Cli, photos: Path) -> None:
    got = diptych("classify", photos, "--names", NAMES, "--json", "-k", "2")
    assert {Path(p["path"]).stem: p["labels"][0]["label"] for p in got.data["predictions"]} == {n: n for n in COLOURS}
    assert all(len(p["labels"]) == 2 for p in got.data["predictions"])
    assert got.data["backbone"] == "lite"


@pytest.mark.parametrize("kind", ["names.txt", "names.json"])
def test_names_and_templates_from_files(diptych: Cli, photos: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "names.txt").write_text("\n".join(COLOURS))
    (tmp_path / "names.json").write_text(json.dumps(list(COLOURS)))
    (tmp_path / "templates.txt").write_text("a {c} wall\na {} door\n")
    got = diptych("classify", photos, "--names", tmp_path / kind, "--templates", tmp_path / "templates.txt", "--json")
    assert got.data["templates"] == ["a {} wall", "a {} door"]
    assert got.data["classnames"] == list(COLOURS)
    got = diptych("classify", photos, "--names", NAMES, "--templates", "a {} roof", "--templates", "{class}", "--json")
    assert got.data["templates"] == ["a {} roof", "{}"]


def test_names_default_to_class_folders(diptych: Cli, colours: Path) -> None:
    got = diptych("classify", colours, "--json", "-k", "1")
    right = [Path(p["path"]).parent.name == p["labels"][0]["label"] for p in got.data["predictions"]]
    assert len(right) == 70
    assert sum(right) > 40


def test_broken_files_are_named_and_the_code_is_3(diptych: Cli, photos: Path) -> None:
    truncated(photos / "half.jpg")
    empty(photos / "nothing.png")
    not_a_picture(photos / "words.png")
    bomb(photos / "bomb.png")
    got = diptych("classify", photos, "--names", NAMES, "--json")
    assert got.code == 3
    assert {Path(s["path"]).name for s in got.data["skipped"]} == {"half.jpg", "nothing.png", "words.png", "bomb.png"}
    assert len(got.data["predictions"]) == 5
    assert "4 skipped:" in got.err
    assert "half.jpg" in got.err


def test_several_photos_with_one_missing(diptych: Cli, photos: Path) -> None:
    got = diptych("classify", photos / "red.png", photos / "none.png", "--names", NAMES)
    assert got.code == 3
    assert got.out.startswith("red.png  red")
    assert "none.png: no such file" in got.err


def test_files_are_written_and_not_overwritten_unasked(diptych: Cli, photos: Path, tmp_path: Path) -> None:
    for name in ("a.csv", "a.json"):
        assert diptych("classify", photos, "--names", NAMES, "--out", tmp_path / name).code == 0
        again = diptych("classify", photos, "--names", NAMES, "--out", tmp_path / name)
        assert again.code == 2
        assert "--overwrite" in again.err
        assert diptych("classify", photos, "--names", NAMES, "--out", tmp_path / name, "--overwrite").code == 0
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert len(rows) == 25
    assert len(json.loads((tmp_path / "a.json").read_text())["predictions"]) == 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["/no/such/folder", "--names", "a"], "no file or folder"),
        (["photos"], "No class names"),
        (["photos", "--names", "a,a"], "unique"),
        (["photos", "--names", "none.txt"], "none.txt"),
        (["photos", "--names", "a", "--templates", "none.txt"], "none.txt"),
        (["photos", "--names", "a", "--templates", "{} {}"], "exactly one"),
        (["photos", "--names", "a", "--out", "x.xml"], ".csv, .json or .html"),
        (["photos", "--names", "a", "--threshold", "2"], "threshold"),
        (["photos", "--names", "a", "--top", "0"], "top"),
        (["photos", "--names", "a", "--precision", "fp8"], "fast (bf16) or int8"),
        (["photos", "--names", "a", "--device", "toaster"], "no device 'toaster'"),
        (["demo:cats"], "no demo 'cats'"),
        ([], "photos"),
    ],
)
def test_usage_errors_are_one_sentence_and_code_2(diptych: Cli, photos: Path, words: list[str], says: str) -> None:
    got = diptych("classify", *words)
    assert got.code == 2
    assert says.lower() in got.err.lower()
    assert got.out == ""


def test_the_demo_photos_bring_their_names(diptych: Cli) -> None:
    got = diptych("classify", "demo:photos", "--json")
    assert got.code == 0
    assert "cat" in got.data["classnames"]


def test_flags_come_from_the_environment_too(diptych: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_JSON", "1")
    monkeypatch.setenv("DIPTYCH_NAMES", NAMES)
    monkeypatch.setenv("DIPTYCH_TOP", "3")
    got = diptych("classify", photos)
    assert [len(p["labels"]) for p in got.data["predictions"]] == [3] * 5


def test_reasons_in_terminal_json_and_html(diptych: Cli, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "pool.json").write_text(json.dumps(colour_pool()))
    words = (
        "classify",
        photos,
        "--names",
        NAMES,
        "--method",
        "description",
        "--texts",
        "pool.json",
        "--explain",
        "2",
        "-k",
        "1",
    )
    got = diptych(*words, "--out", "why.html")
    assert got.code == 0, got.err
    lines = got.out.splitlines()
    assert len(lines) == 5 * 3
    assert lines[1].split()[0].startswith("+0.")
    told = diptych(*words, "--json").data["predictions"][0]["reasons"]
    assert [f"{r['weight']:+.3g}" for r in told] == [line.split()[0] for line in lines[1:3]]
    assert told[0]["text"] in (tmp_path / "why.html").read_text()
    got = diptych("classify", photos, "--names", NAMES, "--method", "perceptionclip", "--explain", "1")
    assert "quality: " in got.out or "condition: " in got.out
    for more, code, says in (
        (["--explain", "1"], 2, "zero-shot gives no reasons: use description"),
        (["--method", "gda"], 2, "board classify DATA --export gda"),
        (["--method", "maskclip"], 2, "no classifier"),
        (["--texts", "pool.json"], 2, "zero-shot does not read --texts, but description"),
        (["--method", "description"], MissingEvidence.exit_code, "--texts"),
        (["--model", "m", "--method", "fudd"], 2, "own names"),
    ):
        got = diptych("classify", photos, *(() if "--model" in more else ("--names", NAMES)), *more)
        assert (got.code, says in got.err) == (code, True), got.err


def test_contexts_are_chosen_by_options(diptych: Cli, photos: Path, tmp_path: Path) -> None:
    base = ("classify", photos, "--names", NAMES, "--method", "perceptionclip", "--explain", "9", "-k", "1", "--json")
    seasons = {"season": {"summer": ["in summer"], "winter": ["in winter", "in snow"]}, "hour": {"night": ["at night"]}}
    (tmp_path / "own.json").write_text(json.dumps({"schema": 1, "factors": seasons}))

    def factors(*more: str) -> set[str]:
        reasons = diptych(*base, *more).data["predictions"][0]["reasons"]
        return {reason["text"].partition(":")[0] for reason in reasons}

    assert factors() == factors("--contexts", "general") == {"quality", "condition"}
    assert factors("--factors", "orientation, tool") == {"orientation", "tool"}
    assert factors("--contexts", "waterbirds", "--factors", "place") == {"place"}
    assert factors("--contexts", "own.json", "--factors", "season,hour") == {"season", "hour"}
    assert factors("--contexts", "own.json", "--factors", "season") == {"season"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--method", "perceptionclip", "--factors", "mood"], "'mood': choose different ones among"),
        (["--method", "perceptionclip", "--contexts", "none.json"], "none.json"),
        (["--method", "perceptionclip", "--contexts", "general", "--factors", ","], "No factor"),
        (["--method", "perceptionclip", "--contexts", "waterbirds"], "choose among place, background"),
        (["--contexts", "waterbirds"], "zero-shot does not read --contexts, but perceptionclip does"),
        (["--method", "description", "--texts", "clothes", "--factors", "tool"], "does not read --factors"),
        (["--model", "m", "--contexts", "general"], "A model has its own contexts, so --contexts has no effect"),
        (["--factors", "place"], "light curves infers no contexts"),
    ],
)
def test_contexts_that_are_refused(diptych: Cli, photos: Path, more: list[str], says: str) -> None:
    if "light curves" in says:
        photos = photos / "sky.csv"
        photos.write_text("star,time,mag\n" + "".join(f"a,{i},{i % 3}\n" for i in range(5)))
    got = diptych("classify", photos, *(() if "--model" in more else ("--names", NAMES)), *more)
    assert (got.code, says in got.err) == (2, True), got.err


def test_contexts_of_the_environment_are_a_default(diptych: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_FACTORS", "tool")
    assert diptych("classify", photos, "--names", NAMES).code == 0
    got = diptych("classify", photos, "--names", NAMES, "--method", "perceptionclip", "--explain", "1")
    assert "tool: " in got.out
    assert "contexts" not in diptych("classify", photos, "--model", "absent").err


def test_an_exported_model_speaks_with_promises(diptych: Cli, tmp_path: Path, photos: Path) -> None:
    folder = colour_folder(tmp_path / "d", {"train": 20, "test": 4})
    answer = diptych(
        "board",
        "classify",
        folder,
        "--methods",
        "zero-shot,gda",
        "--shots",
        "2",
        "--seeds",
        "1",
        "--export",
        "best",
        "--out",
        "out",
    )
    assert answer.code == 0
    assert "diptych classify PHOTOS --model out/model" in answer.out
    got = diptych(
        "classify", photos, "--model", "out/model", "--coverage", "0.9", "--unknown-rate", "0.05", "--json", "-k", "1"
    )
    assert got.code == 0
    assert {Path(p["path"]).stem: p["labels"][0]["label"] for p in got.data["predictions"]} == {n: n for n in COLOURS}
    assert all(Path(p["path"]).stem in p["set"] and p["unknown"] in (True, False) for p in got.data["predictions"])
    assert (got.data["sets"], got.data["unknown_rate"], got.data["model"]) == (0.9, 0.05, "out/model")
    assert "| one of: " in diptych("classify", photos, "--model", "out/model", "--coverage", "0.9").out
    for words, code, says in (
        (["--coverage", "0.9"], 2, "--model"),
        (["--model", "out/model", "--names", "a,b"], 2, "own names"),
        (["--model", "nowhere"], 2, "no folder nowhere"),
        (["--model", "out/model", "--unknown-rate", "0.0001"], 2, "give 9999 or more"),
        (["--model", "out/model", "--coverage", "90"], 2, "share"),
        (["--model", "out/model", "--backbone", "other"], 0, ""),
    ):
        got = diptych("classify", photos, *words)
        assert (got.code, says in got.err) == (code, True), got.err


def test_photos_beside_folders_and_a_picture_of_one_pixel(diptych: Cli, photos: Path) -> None:
    (photos / "trip").mkdir()
    (photos / "red.png").rename(photos / "trip" / "red.png")
    Image.new("RGB", (1, 1)).save(photos / "dot.png")
    got = diptych("classify", photos, "--names", NAMES, "--json", "-k", "1")
    assert got.code == 0
    assert len(got.data["predictions"]) == len(COLOURS) + 1
    assert "dot.png has fewer than 64 pixels" in got.err
    assert diptych("classify", photos).code == 2, "there are no class folders"


def test_empty_names_are_refused(diptych: Cli, photos: Path) -> None:
    got = diptych("classify", photos, "--names", "")
    assert (got.code, "--names is empty" in got.err) == (2, True)


def test_one_name_is_no_question(diptych: Cli, photos: Path) -> None:
    got = diptych("classify", photos, "--names", "red")
    assert (got.code, "With one name every photo gets it" in got.err) == (0, True)


def test_numbers_as_class_names_are_told(diptych: Cli, tmp_path: Path) -> None:
    for number, name in enumerate(("red", "blue")):
        coloured(tmp_path / "set" / str(number) / "a.png", name, number)
    got = diptych("classify", tmp_path / "set")
    assert got.code == 0
    assert "The class names are numbers (0, 1)" in got.err


def test_each_box_is_classified_by_itself(diptych: Cli, tmp_path: Path) -> None:
    photo = Image.new("RGB", (40, 20), "red")
    photo.paste("blue", (20, 0, 40, 20))
    photo.save(tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text("path,x,y,w,h,phrase\na.png,0,0,20,20,one\na.png,20,0,20,20,two\n")
    got = diptych("classify", "a.png", "--regions", "boxes.csv", "--names", "red, blue", "--json", "--out", "p.html")
    assert got.code == 0
    said = {Path(p["path"]).name: p["labels"][0]["label"] for p in got.data["predictions"]}
    assert said == {"a.png[0,0,20,20]": "red", "a.png[20,0,40,20]": "blue"}
    assert (tmp_path / "p.html").exists()
    assert diptych("classify", "a.png", "--regions", "boxes.csv", "--frames", "2", "--names", "red").code == 2


def test_photos_are_sorted_into_folders_of_their_classes(diptych: Cli, photos: Path, tmp_path: Path) -> None:
    got = diptych("classify", photos, "--names", NAMES, "--sort-into", "by-class")
    assert got.code == 0
    assert sorted(p.parent.name for p in Path("by-class").rglob("*.png")) == sorted(COLOURS)
    assert f"{len(COLOURS)} photos copied into by-class:" in got.err
    again = diptych("classify", photos, "--names", NAMES, "--sort-into", "by-class")
    assert (again.code, "by-class exists: give another --sort-into or --overwrite" in again.err) == (2, True)
    assert diptych("classify", photos, "--names", NAMES, "--sort-into", "by-class", "--overwrite").code == 0
    got = diptych("classify", photos, "--names", NAMES, "--sort-into", photos / "sorted")
    assert (got.code, "give --sort-into a folder elsewhere" in " ".join(got.err.split())) == (2, True)


def test_the_head_of_a_table_is_the_same_whatever_letters_follow(diptych: Cli, photos: Path) -> None:
    (photos / "red.png").rename(photos / "größe.png")
    assert diptych("classify", photos, "--names", NAMES, "--out", "t.csv").code == 0
    assert Path("t.csv").read_bytes().startswith(b"path,")
    assert "größe.png" in Path("t.csv").read_text("utf-8")
