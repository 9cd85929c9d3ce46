from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.backbones.engines.engine import Engines
from diptych.core import DataError, Run
from diptych.methods.segment.clip_dinoiser import CLIPDINOiser
from diptych.methods.segment.fc_clip import FCCLIP
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.methods.segment.naclip import NACLIP
from diptych.methods.segment.ovseg import OVSeg
from diptych.methods.segment.sclip import SCLIP
from diptych.methods.segment.stuff_context import StuffContext
from diptych.methods.segment.trident import Trident
from diptych.nn.dense.label_maps import Windows
from diptych.nn.dense.mask_queries import MaskLayout
from diptych.tasks.segment import Answers
from diptych.verbs.label_maps import LabelMaps
from tests.support.dense_colours import DenseColours, halves, masked_folder
from tests.support.image_files import truncated
from tests.support.regions import Colours

Cli = Callable[..., Any]


@pytest.fixture
def photo(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: DenseColours(name=name))
    # Its cells are of 4 pixels: 19,000 at the default's largest side.
    monkeypatch.setattr(StuffContext, "__init__", partialmethod(StuffContext.__init__, sides=(40, 60)))
    (tmp_path / "photos").mkdir()
    halves("red", "blue", 600, 400).save(tmp_path / "photos" / "a.png")
    return tmp_path / "photos" / "a.png"


def test_one_photo_gives_three_files_and_a_line(diptych: Cli, photo: Path, tmp_path: Path) -> None:
    got = diptych("segment", photo, "--names", "red, blue, green")
    assert got.code == 0
    assert got.out.startswith("a.png  red 5")
    assert "1 image in" in got.err
    assert sorted(p.name for p in (tmp_path / "segments").iterdir()) == ["a.json", "a.labels.png", "a.overlay.png"]
    labels = np.asarray(Image.open(tmp_path / "segments" / "a.labels.png"))
    assert labels.shape == (400, 600)
    assert labels[200, 20] == 0
    assert labels[200, 580] == 1
    data = json.loads((tmp_path / "segments" / "a.json").read_text())
    assert data["classnames"] == ["red", "blue", "green"]
    assert sum(a["area"] for a in data["areas"]) == pytest.approx(1.0, abs=1e-4)
    again = diptych("segment", photo, "--names", "red, blue")
    assert again.code == 2
    assert "--overwrite" in again.err
    assert diptych("segment", photo, "--names", "red, blue", "--overwrite").code == 0


@pytest.mark.parametrize("more", [(), ("--things", "red", "--confidence")])
def test_a_command_that_was_stopped_goes_on_and_ends_with_the_same_files(
    diptych: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, more: tuple[str, ...]
) -> None:
    for width, name in enumerate(("b", "c", "d"), start=60):
        halves("red", "blue", width, 40).save(photo.parent / f"{name}.png")
    asked = ("segment", photo.parent, "--names", "red, blue", *more)
    whole = diptych(*asked, "--out", "whole")
    write, answers, segmented = LabelMaps.write, Answers.__call__, list[str]()

    def interrupted(self: LabelMaps, item: Any, folder: Path, *, overwrite: bool) -> Any:
        if item.name.endswith("c.png"):
            raise KeyboardInterrupt
        return write(self, item, folder, overwrite=overwrite)

    def noted(self: Answers, photos: Any, run: Run) -> Any:
        segmented.append(Path(photos.name(0)).name)
        return answers(self, photos, run)

    with monkeypatch.context() as patch:
        patch.setattr(LabelMaps, "write", interrupted)
        got = diptych(*asked, "--out", "o")
    assert got.code == 130
    assert "Interrupted: files of 2 of 4 photos are in o" in got.err
    assert got.err.endswith("; the same command goes on from there.\n")
    assert "o/a.overlay.png exists: give another --out" in diptych(*asked[:3], "red, green", "--out", "o").err
    monkeypatch.setattr(Answers, "__call__", noted)
    again = diptych(*asked, "--out", "o")
    assert (again.code, again.out, segmented) == (0, whole.out, ["d.png"])
    assert "3 results are from the same command, which was stopped." in again.err
    assert "1 image in" in again.err
    files = [{p.name: p.read_bytes() for p in (tmp_path / out).iterdir()} for out in ("o", "whole")]
    assert files[0] == files[1]


def test_few_photos_wait_for_no_times_of_runtimes(diptych: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few: list[bool] = []
    init = Engines.__init__
    monkeypatch.setattr(Engines, "__init__", lambda *given: few.append(given[-1]) or init(*given))
    assert diptych("segment", photo, "--names", "red, blue").code == 0
    assert {*few} == {True}


def test_background_and_json(diptych: Cli, photo: Path, tmp_path: Path) -> None:
    got = diptych(
        "segment", photo, "--names", "red", "--background", "blue, yellow", "--threshold", "0.3", "--json", "--out", "o"
    )
    assert got.code == 0
    assert [a["label"] for a in got.data["photos"][0]["areas"]] in (["background", "red"], ["red", "background"])
    assert got.data["background"] == ["blue", "yellow"]
    assert Path(got.data["photos"][0]["overlay"]).exists()


def test_one_name_is_no_question(diptych: Cli, photo: Path) -> None:
    assert "With one name nothing else can be chosen" in diptych("segment", photo, "--names", "red").err
    more = diptych("segment", photo, "--names", "red", "--background", "blue", "--out", "other")
    assert (more.code, "With one name" in more.err) == (0, False)


def test_it_is_said_that_one_name_covers_most_photos(diptych: Cli, photo: Path) -> None:
    for name in ("b.png", "c.png"):
        halves("red", "red", 60, 40).save(photo.parent / name)
    got = diptych("segment", photo.parent, "--names", "red, blue")
    assert (got.code, "2 of 3 photos have one name in all pixels, 'red' 2 times" in got.err) == (0, True)


def test_a_broken_photo_is_named_and_the_code_is_3(diptych: Cli, photo: Path) -> None:
    truncated(photo.parent / "half.jpg")
    got = diptych("segment", photo.parent, "--names", "red, blue")
    assert got.code == 3
    assert "half.jpg" in got.err
    assert "1 overlay," in got.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["photos/a.png"], "No class names"),
        (["photos/a.png", "--names", "red", "--threshold", "0.5"], "background"),
        (["photos/a.png", "--names", "red", "--method", "gda"], "no segmenter"),
        (["photos/a.png", "--names", "red", "--method", "maskclop"], "maskclip"),
        (["none.png", "--names", "red"], "no file"),
        (["photos/a.png", "--names", "red", "--out", "photos/a.png"], "would be a folder there"),
    ],
)
def test_usage_errors_are_one_sentence_and_code_2(diptych: Cli, photo: Path, words: list[str], says: str) -> None:
    got = diptych("segment", *words)
    assert got.code == 2
    assert says in got.err
    assert got.out == ""


def test_prove_finds_its_photos_in_the_folder_of_diptych_data(
    diptych: Cli, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked_folder(tmp_path / "msrc_large")
    monkeypatch.setattr(MaskCLIP, "__init__", partialmethod(MaskCLIP.__init__, windows=Windows(40, 40, 20)))
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path))
    got = diptych("prove", "maskclip")
    assert "mIoU %" in got.out
    assert "msrc_large" in got.out
    assert json.loads((tmp_path / "results" / "maskclip.json").read_text())["metric"] == "miou"


def test_a_method_that_learns_asks_for_photos_and_takes_a_teacher(
    diptych: Cli, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        CLIPDINOiser, "__init__", partialmethod(CLIPDINOiser.__init__, windows=Windows(40, 40, 20), photos=3, steps=2)
    )
    monkeypatch.setattr("diptych.tasks.segment.load_vision", lambda name: DenseColours(name=name))
    answer = diptych("segment", photo, "--names", "red, blue", "--method", "clip-dinoiser")
    assert answer.code == 2
    assert "--unlabelled" in answer.err
    for i, (a, b) in enumerate((("red", "blue"), ("green", "yellow"))):
        halves(a, b).save(tmp_path / "photos" / f"{i}.png")
    words = (
        "--names",
        "red, blue",
        "--method",
        "clip-dinoiser",
        "--unlabelled",
        tmp_path / "photos",
        "--teacher",
        "tiny",
        "--json",
    )
    got = diptych("segment", photo, *words)
    assert got.code == 0
    assert {a["label"] for a in got.data["photos"][0]["areas"]} <= {"red", "blue"}
    assert Path(got.data["photos"][0]["label_map"]).exists()


def test_a_method_that_learns_masks_asks_for_label_maps(
    diptych: Cli, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"side": 40, "crop": 40, "layout": MaskLayout(queries=4, encoder=1, decoder=1, points=16), "steps": 2}
    monkeypatch.setattr(FCCLIP, "__init__", partialmethod(FCCLIP.__init__, **short))
    words = ("segment", photo, "--names", "red, blue", "--method", "fc-clip")
    answer = diptych(*words)
    assert answer.code == 2
    assert "--train" in answer.err
    got = diptych(*words, "--train", masked_folder(tmp_path / "set"), "--things", "red", "--json")
    assert got.code == 0
    assert {a["label"] for a in got.data["photos"][0]["areas"]} <= {"red", "blue"}
    assert (tmp_path / "segments" / "a.panoptic.png").exists()
    wrong = diptych(*words, "--train", tmp_path / "photos", "--overwrite")
    assert wrong.code == 1
    assert "label maps" in wrong.err


def test_a_training_that_was_killed_goes_on(
    diptych: Cli, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Label maps are the same bytes as those of a training that was not."""
    short = {"side": 40, "crop": 40, "layout": MaskLayout(queries=4, encoder=1, decoder=1, points=16), "steps": 4}
    monkeypatch.setattr(FCCLIP, "__init__", partialmethod(FCCLIP.__init__, **short))
    words = (
        "segment",
        photo,
        "--names",
        "red, blue",
        "--method",
        "fc-clip",
        "--train",
        masked_folder(tmp_path / "set"),
    )
    assert diptych(*words, "--fitted", "whole", "--out", "a").code == 0

    def killed(*given: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("diptych.features.artefacts.save", killed)  # after the last step, before anything is kept
        assert diptych(*words, "--fitted", "again", "--out", "b").code == 130
    assert (tmp_path / "again.training").is_dir()
    with pytest.warns(UserWarning, match="A training that was stopped goes on"):
        assert diptych(*words, "--fitted", "again", "--out", "c").code == 0
    assert not (tmp_path / "again.training").exists()
    assert (tmp_path / "c/a.labels.png").read_bytes() == (tmp_path / "a/a.labels.png").read_bytes()


@pytest.mark.parametrize("unknown", [False, True])
def test_maps_of_300_classes_are_written_read_and_measured(
    diptych: Cli, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unknown: bool
) -> None:
    monkeypatch.setattr(MaskCLIP, "__init__", partialmethod(MaskCLIP.__init__, windows=Windows(40, 40, 20)))
    names = [*(f"thing {k}" for k in range(296)), "red", "green", "blue", "yellow"]
    (tmp_path / "names.txt").write_text("\n".join(names))
    words = ("--names", "names.txt", "--method", "maskclip", *(("--unknown", "0.05") if unknown else ()))
    got = diptych("segment", photo, *words, "--templates", "{}", "--out", "maps", "--json")
    assert got.code == 0, got.err
    labels = np.asarray(Image.open(tmp_path / "maps/a.labels.png"))
    assert labels.dtype == np.uint16
    assert set(np.unique(labels)) <= {296, 297, 298, 299, *((65535,) if unknown else ())}
    assert (labels == 65535).any() == unknown
    assert got.data["photos"][0].get("unknown", 0) == pytest.approx((labels == 65535).mean(), abs=1e-6)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/classes.csv").write_text("value,name\n" + "".join(f"{k},{n}\n" for k, n in enumerate(names)))
    (tmp_path / "set/a.png").write_bytes(photo.read_bytes())
    (tmp_path / "set/m.png").write_bytes((tmp_path / "maps/a.labels.png").read_bytes())
    (tmp_path / "set/labels.csv").write_text("path,mask\na.png,m.png\n")
    board = diptych("board", "segment", "set", "--methods", "maskclip", "--templates", "{}", "--seeds", "1", "--json")
    assert board.code == 0, board.err
    rows = {row["method"]: row for row in board.data["rows"]}
    assert (rows["maskclip"]["miou"], rows["maskclip"]["pixel_accuracy"]) == (1, 1)  # its own map is the truth
    assert rows["chance"]["pixel_accuracy"] == pytest.approx(1 / 300)


def test_a_dry_run_takes_three_steps_and_writes_nothing(
    diptych: Cli, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"side": 40, "crop": 40, "layout": MaskLayout(queries=4, encoder=1, decoder=1, points=16), "steps": 90}
    monkeypatch.setattr(FCCLIP, "__init__", partialmethod(FCCLIP.__init__, **short))
    words = ("segment", photo, "--names", "red, blue", "--train", masked_folder(tmp_path / "set"), "--dry-run")
    got = diptych(*words, "--method", "fc-clip")
    assert got.code == 0
    assert got.out.startswith("3 steps of ")
    assert "Extrapolated, and not run: 90 steps take " in got.out
    assert not (tmp_path / "segments").exists()
    idle = diptych("segment", photo, "--names", "red, blue", "--method", "maskclip", "--dry-run")
    assert (idle.code, idle.err.count("leave --dry-run out")) == (2, 1), idle.err


def test_calibration_photos_promise_a_share_of_wrong_pixels(diptych: Cli, photo: Path, tmp_path: Path) -> None:
    words = ("segment", photo, "--names", "red, green, blue, yellow")
    got = diptych(*words, "--calibration", masked_folder(tmp_path / "set"), "--risk", "0.2", "--json")
    assert got.code == 0, got.err
    promise = got.data["promise"]
    assert (promise["photos"], promise["risk"], got.data["unknown"]) == (6, 0.2, promise["threshold"])
    assert promise["wrong"] <= 0.2
    assert any("at most 20 % of the pixels of a new photo" in remark for remark in got.data["remarks"])
    few = diptych(*words, "--calibration", tmp_path / "set", "--out", "b")
    assert (few.code, "6 calibration photos cannot promise a risk of 0.1: give 9 or more" in few.err) == (2, True)
    alone = diptych(*words, "--risk", "0.2", "--out", "c")
    assert (alone.code, alone.err) == (2, "A --risk needs photos with label maps: give --calibration.\n")
    both = diptych(*words, "--calibration", tmp_path / "set", "--unknown", "0.2", "--out", "d")
    assert (both.code, "leave out --unknown and --threshold" in both.err) == (2, True)


def test_ovseg_learns_from_captions(diptych: Cli, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = diptych("segment", photo, "--names", "red, blue", "--method", "ovseg")
    assert answer.code == 2
    assert "--captioned" in answer.err
    monkeypatch.setattr(DenseColours, "encoders", Colours.encoders)
    monkeypatch.setattr(OVSeg, "__init__", partialmethod(OVSeg.__init__, side=32, epochs=1, regions=4))
    for i, (a, b) in enumerate((("red", "blue"), ("green", "yellow"))):
        halves(a, b).save(tmp_path / f"{i}.png")
    (tmp_path / "captions.csv").write_text("path,caption\n0.png,A dog on a boat.\n1.png,A man with a hat.\n")
    words = ["--names", "red, blue", "--method", "ovseg", "--captioned", tmp_path / "captions.csv", "--json"]
    words += ["--proposer", "merged-cells"]  # the other one reads the maps of a real backbone
    got = diptych("segment", photo, *words)
    assert got.code == 0
    assert {a["label"] for a in got.data["photos"][0]["areas"]} <= {"red", "blue"}


def test_sam_clip_names_the_sam_that_it_needs(diptych: Cli, photo: Path) -> None:
    answer = diptych("segment", photo, "--names", "red, blue", "--method", "sam-clip", "--unlabelled", photo.parent)
    assert answer.code == 2
    assert "--masks" in answer.err


def test_the_board_has_a_row_a_segmenter_and_names_what_could_not_run(
    diptych: Cli, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked_folder(tmp_path / "set")
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path))
    monkeypatch.setattr("diptych.tasks.segment.load_vision", lambda name: DenseColours(name=name))
    for kind in (Trident, MaskCLIP, SCLIP, NACLIP):
        monkeypatch.setattr(kind, "__init__", partialmethod(kind.__init__, windows=Windows(40, 32, 16)))
    got = diptych("board", "segment", "set", "--seeds", "1,2", "--json")
    assert got.code == 0
    rows = {(r["method"], r["variant"]): r for r in got.data["rows"]}
    trident = {("trident", variant) for variant in ("", "scores", "no aggregation")}
    context = {("stuff-context", variant) for variant in ("", "prompts", "without looks", "without colours")}
    assert set(rows) == {("maskclip", ""), ("sclip", ""), ("naclip", ""), *context, ("chance", ""), *trident}
    assert "tower" in got.data["missing"]["maskclip:tokens"]
    assert "imagenet1k_sample" in got.data["missing"]["clip-dinoiser"]
    assert [r["miou"] for r in got.data["rows"]] == sorted((r["miou"] for r in got.data["rows"]), reverse=True)
    assert rows["chance", ""]["gain"]["miou"] == pytest.approx(
        rows["chance", ""]["miou"] - rows["maskclip", ""]["miou"]
    )
    low, high = rows["chance", ""]["gain"]["ci95"]
    assert low <= rows["chance", ""]["gain"]["miou"] <= high < 0
    assert rows["maskclip", ""]["seeds"] == [1]
    assert rows["chance", ""]["pixel_accuracy"] == pytest.approx(1 / len(got.data["classes"]))
    assert json.loads((tmp_path / "out" / "board-segment" / "board.json").read_text())["verb"] == "segment"
    again = diptych("board", "segment", "set")
    assert again.code == 2
    assert "--overwrite" in again.err
    table = diptych("board", "segment", "set", "--methods", "maskclip", "--overwrite")
    assert "mIoU % (95 %)" in table.out
    for words, says in (
        (("nowhere",), "no file or folder nowhere"),
        (("set", "--names", "red, blue"), "2 names"),
        (("set", "--methods", "gda"), "no system of segment"),
        (("set", "--seeds", ""), "seed"),
    ):
        wrong = diptych("board", "segment", *words, "--out", "other")
        assert wrong.code in (2, 4)
        assert says in wrong.err


def test_a_mask_of_another_size_is_named(diptych: Cli, photo: Path, tmp_path: Path) -> None:
    folder = masked_folder(tmp_path / "set")
    Image.fromarray(np.ones((7, 9), dtype=np.uint8)).save(folder / "2-mask.png")
    got = diptych("board", "segment", folder, "--methods", "maskclip")
    assert got.code != 0
    assert "2.png has (7, 9) pixels" in got.err
    assert "Traceback" not in got.err


def test_background_is_one_class(diptych: Cli, photo: Path) -> None:
    got = diptych("segment", photo, "--names", "red, Background", "--background", "blue")
    assert (got.code, "'background' is a name and what the words for background become" in got.err) == (2, True)
    assert diptych("segment", photo, "--names", "red, background").code == 0


def test_things_write_instances_and_panoptics_for_the_photo_and_the_run(
    diptych: Cli, photo: Path, tmp_path: Path
) -> None:
    got = diptych("segment", photo, "--names", "red|crimson, blue", "--things", "red", "--confidence", "--json")
    assert got.code == 0
    names = {p.name for p in (tmp_path / "segments").iterdir()}
    ends = ("overlay.png", "labels.png", "json", "confidence.png", "panoptic.png", "instances.png")
    assert names == {*(f"a.{e}" for e in ends), "panoptic.json", "instances.json"}
    assert [s["label"] for s in got.data["photos"][0]["segments"] if s["thing"]] == ["red"]
    assert got.data["classnames"] == ["red", "blue"]
    assert got.data["images_per_second"] > 0
    coco = json.loads((tmp_path / "segments" / "instances.json").read_text())
    assert [c["name"] for c in coco["categories"]] == ["red"]
    assert diptych("segment", photo, "--names", "red, blue", "--things", "all").code == 2  # files are there
    again = diptych("segment", photo, "--names", "red, blue", "--things", "all", "--overwrite", "--unknown", "0.999")
    assert again.out.rstrip().rpartition("  ")[2] in ("1 thing", "2 things")
    assert "unknown" in again.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--things", "cat"], "'cat' is not a class"),
        (["--background", "grey", "--threshold", "0.1", "--unknown", "0.2"], "not both"),
        (["--names", "red|blue, blue"], "'blue' stands for two"),
    ],
)
def test_new_options_are_checked(diptych: Cli, photo: Path, words: list[str], says: str) -> None:
    got = diptych("segment", photo, *(() if "--names" in words else ("--names", "red, blue")), *words)
    assert got.code == 2
    assert says in got.err


def test_void_values_of_a_folder_with_label_maps_are_no_names(diptych: Cli, photo: Path, tmp_path: Path) -> None:
    masked_folder(tmp_path / "set")
    got = diptych("segment", tmp_path / "set", "--void", "1, 4", "--json")
    assert got.code == 0
    assert got.data["classnames"] == ["green", "blue"]
    assert len(got.data["photos"]) == 6  # the label maps beside them are no photos
    wrong = diptych("segment", tmp_path / "set", "--void", "red")
    assert wrong.code == 2
    assert "'red'" in wrong.err


def test_boxes_are_objects_and_all_else_is_unknown(diptych: Cli, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text(
        "path,x0,y0,x1,y1,phrase\nphotos/a.png,0,0,200,400,red\nphotos/a.png,400,0,600,400,thing\n"
    )
    got = diptych("segment", photo, "--names", "red, blue", "--regions", "boxes.csv", "--json")
    assert got.code == 0
    (row,) = got.data["photos"]
    assert [s["label"] for s in row["segments"]] == ["red", "blue"]
    assert 0.3 < row["unknown"] < 0.4
    listed = json.loads((tmp_path / "segments" / "instances.json").read_text())["annotations"]
    assert [a["bbox"] for a in listed] == [[0, 0, 200, 400], [400, 0, 200, 400]]
    assert diptych("segment", photo, "--names", "red", "--regions", "boxes.csv", "--things", "all").code == 2


@pytest.mark.parametrize("breaks", ["reader", "maker"])
def test_no_bar_is_shown_after_the_sentence_of_an_error(
    diptych: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    order: list[str] = []

    def made(items: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from items
        finally:
            order.append("ended")

    def timed(self: LabelMaps, items: Iterator[Any]) -> Iterator[Any]:
        held = made(items)
        yield next(held)
        raise DataError("The maker broke.")

    def write(*given: Any, **more: Any) -> Any:
        if breaks == "reader":
            raise DataError("The disk broke.")
        return (photo, photo)

    halves("red", "blue", 60, 40).save(photo.with_name("b.png"))
    monkeypatch.setattr(LabelMaps, "_timed", timed)
    monkeypatch.setattr("diptych.tasks.label_maps.segmented.Segmented.write", write)
    monkeypatch.setattr("diptych.cli.main.say", order.append)
    assert diptych("segment", photo.parent, "--names", "red, blue").code == 1
    assert order == ["ended", "The disk broke." if breaks == "reader" else "The maker broke."]
