from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from torch import Generator

from diptych.backbones.generators.load import load_stylegan2
from diptych.data.formats.clips import read_video
from diptych.methods.edit import clipinverter, cut_and_paste, deltaedit, mosaic
from diptych.nn.delta_mapper import DeltaMapper
from recipes.fresh_generators import fresh_weights
from tests.backbones.diffusion.test_pipeline_folders import small_pipeline
from tests.backbones.generators.inverter_files import released, written
from tests.support.colours import coloured
from tests.support.diffusion import random_diffusion
from tests.support.small_clip import small_clip

Cli = Callable[..., Any]
WORDS = ("--source", "a red circle", "--target", "a blue circle")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of a second."""
    monkeypatch.setitem(
        deltaedit.DeltaEdit.card.variants, "small", {"bank": 8, "passes": 1, "batch": 4, "width": 8, "probes": 1}
    )  # type: ignore[arg-type]


def test_pictures_json_and_a_kept_editor(diptych: Cli, tmp_path: Path) -> None:
    got = diptych("edit", *WORDS, "--count", "2", "--seed", "3", "--fitted", "kept", "--out", "out", "--threshold", "0")
    assert got.code == 0
    assert [line.split()[0] for line in got.out.splitlines()] == ["seed3-1.png", "seed3-2.png"]
    assert "28 of 28 channels moved" in got.out
    with Image.open(tmp_path / "out" / "seed3-1.png") as sheet:
        assert sheet.size == (528, 256)
    again = diptych(
        "edit",
        *WORDS,
        "--count",
        "2",
        "--seed",
        "3",
        "--fitted",
        "kept",
        "--out",
        "other",
        "--threshold",
        "0",
        "--json",
    )
    assert again.data["generator"] == "factors"
    assert [p["name"] for p in again.data["pictures"]] == ["seed3-1", "seed3-2"]
    assert (tmp_path / "out" / "seed3-1.png").read_bytes() == (tmp_path / "other" / "seed3-1.png").read_bytes()
    still = diptych("edit", *WORDS, "--count", "1", "--fitted", "kept", "--out", "still", "--threshold", "99")
    assert (still.code, "give a lower --threshold" in still.err, "0 of 28" in still.out) == (0, True, True)
    taken = diptych("edit", *WORDS, "--count", "2", "--seed", "3", "--out", "out")
    assert (taken.code, "--overwrite" in taken.err) == (2, True)


def test_stylegan2_weights_of_a_file(diptych: Cli, tmp_path: Path) -> None:
    save_file(fresh_weights(16, 8, {4: 4, 8: 4, 16: 3}, 1, Generator().manual_seed(0)), tmp_path / "mine.safetensors")
    got = diptych("edit", *WORDS, "-g", "local:mine.safetensors", "-n", "1", "--out", "out", "--threshold", "0")
    assert got.code == 0
    assert "19 of 19 channels moved" in got.out


def test_photos_get_a_style_an_object_with_a_mask_and_say_so(
    diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {"steps": 1, "crops": 1, "side": 16, "width": 4, "crop": 0.5}
    monkeypatch.setitem(mosaic.Mosaic.card.variants, "small", quick)  # type: ignore[arg-type]
    coloured(tmp_path / "cup.png", "red", 1)
    with Image.open(tmp_path / "cup.png") as photo:
        size = photo.size
    Image.new("L", size, 0).save(tmp_path / "mask.png")
    words = ("edit", "cup.png", "--target", "cup: blue", "-m", "mosaic", "--variant", "small", "-b", "vit")
    vit = small_clip(tmp_path / "vit")
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: vit)
    got = diptych(*words)
    assert got.code == 0
    assert got.out.startswith("cup.png  areas cup ")
    still = diptych(*words, "--mask", "mask.png", "--out", "still", "--json")
    assert still.data["pictures"] == [{"name": "cup.png", "areas": {"cup": 0.0}}]
    with Image.open(tmp_path / "still" / "cup.png") as sheet:
        pixels = np.asarray(sheet)
    wide = (pixels.shape[1] - 16) // 2
    assert (pixels[:, :wide] == pixels[:, wide + 16 :]).all()
    for bad, said in (
        (("--target", "a cup"), "names no object"),
        (("--target", "cup: blue", "--threshold", "1"), "does not read --threshold"),
        (("--target", "cup: blue", "--subject", "cup.png"), "does not read --subject"),
        (("--target", "cup: blue", "-g", "small"), "does not read --generator"),
    ):
        got = diptych("edit", "cup.png", *bad, "-m", "mosaic", "-b", "vit", "--out", "bad")
        assert (got.code, said in got.err) == (2, True), got.err


def test_photos_are_edited_by_an_editor_that_learns_from_captions(
    diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {"steps": 1, "refine": 1, "batch": 2, "groups": 8, "width": 8}
    monkeypatch.setitem(clipinverter.CLIPInverter.card.variants, "small", quick)  # type: ignore[arg-type]
    for colour in ("red", "blue"):
        coloured(tmp_path / f"{colour}.png", colour, 1)
    (tmp_path / "captions.csv").write_text("image,caption\nred.png,a red cup\nblue.png,a blue cup\n")
    vit = small_clip(tmp_path / "vit")
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: vit)
    words = ("edit", "red.png", "--target", "a blue cup", "-m", "clipinverter", "--variant", "small", "-b", "vit")
    refused = diptych(*words, "--like", "captions.csv", "--fitted", "kept")
    assert (refused.code, "or continue anyway with --anyway" in refused.err) == (2, True), refused.err
    assert not (tmp_path / "kept").exists()
    got = diptych(*words, "--like", "captions.csv", "--fitted", "kept", "--anyway", "--json")
    assert got.code == 0, got.err
    assert 0 <= got.data["pictures"][0]["inversion_error"] < 1
    assert "The small generator never learnt cup, and no photographs" in got.err
    assert "as --generator" in got.err
    assert (tmp_path / "edits" / "red.png").is_file()
    still = diptych(*words, "--fitted", "kept", "--strength", "0", "--out", "still", "--json")
    assert still.data["pictures"][0]["moved"] == []
    for more, said in (
        ((), "learns from photos with captions"),
        (("--like", "captions.csv", "-g", "factors", "--anyway"), "no encoder through"),
    ):
        got = diptych(*words, *more, "--out", "bad")
        assert (got.code > 0, said in got.err) == (True, True), got.err


def test_photos_are_found_by_the_inverter_of_a_file_in_its_generator(diptych: Cli, tmp_path: Path) -> None:
    written(released(), tmp_path)
    coloured(tmp_path / "red.png", "red", 1)
    words = ("edit", "red.png", *WORDS, "--threshold", "0")
    got = diptych(*words, "--inverter", "e4e.pt", "--fitted", "kept", "--json")
    assert got.code == 0, got.err
    assert (got.data["generator"], got.data["inverter"], len(got.data["channels"])) == ("e4e.pt", "e4e.pt", 7)
    with Image.open(tmp_path / "edits" / "edited" / "red.png") as picture:
        assert picture.size == (32, 32)
    again = diptych(*words, "--inverter", "e4e.pt", "--fitted", "kept", "--out", "again", "--json")
    assert again.data["pictures"] == got.data["pictures"]
    drawn = diptych("edit", *WORDS, "--generator", "e4e.pt", "--count", "1", "--out", "drawn", "--json")
    assert (drawn.code, drawn.data["inverter"]) == (0, None), drawn.err
    for more, said in (
        (("-g", "e4e.pt"), "as e4e_ffhq_encode.pt, as --inverter, or small as --generator"),
        (("-g", "factors", "--inverter", "e4e.pt"), "a file with its weights as --generator"),
        (("--inverter", "none.pt"), "no weight file none.pt"),
        (("-g", "e4e.pt", "--fitted", "kept"), "such as e4e_ffhq_encode.pt, as --inverter"),
    ):
        got = diptych(*words, *more, "--out", "bad")
        assert (got.code > 0, said in got.err) == (True, True), got.err


def test_a_photo_is_edited_by_a_released_mapper(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = small_clip(tmp_path / "quick", "vit-quickgelu")
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: quick)
    written(released(), tmp_path)
    mapper = DeltaMapper(load_stylegan2(tmp_path / "e4e.pt").channels, quick.image.dim)
    names, theirs = {"style": "sm", "condition": "cm", "fusion": "fm"}, {}
    for name, tensor in mapper.state_dict().items():
        part, level, layer, kind = name.split(".")
        number = int(layer) + (part != "fusion")
        theirs[f"{names[part]}_{('coarse', 'medium')[int(level)]}.mapping.{number}.{kind}"] = tensor
    written(theirs, tmp_path, "net_face.pth")
    channels = sum(layers * width for _, layers, width in mapper.levels)
    np.save(tmp_path / "fs3.npy", np.ones((channels, quick.image.dim), dtype=np.float32))
    convert = ("systems", "deltaedit", "--weights", "net_face.pth", "--backbone", "quick")
    lacking = diptych(*convert, "--out", "delta")
    assert (lacking.code, "give --generator, such as stylegan2-ffhq-config-f.pt" in lacking.err) == (2, True)
    answer = diptych(*convert, "--generator", "e4e.pt", "--out", "delta")
    assert answer.code == 0, answer.err
    assert "diptych edit PHOTOS --generator e4e.pt --inverter FILE --fitted delta" in answer.out
    coloured(tmp_path / "red.png", "red", 1)
    words = ("edit", "red.png", "--source", "face", "--target", "face with a beard", "--fitted", "delta", "--json")
    got = diptych(*words, "--generator", "e4e.pt", "--inverter", "e4e.pt", "--threshold", "0")
    assert got.code == 0, got.err
    assert got.data["method"] == "deltaedit"
    assert got.data["pictures"][0]["moved"]
    for more, said in (
        (("--generator", "e4e.pt"), "such as e4e_ffhq_encode.pt, as --inverter"),
        ((), "holds an editor of another generator"),
    ):
        got = diptych(*words, *more, "--out", "bad")
        assert (got.code > 0, said in got.err) == (True, True), got.err


def test_a_subject_comes_into_a_clip(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = {"steps": 2, "subject_steps": 1, "guidance": 1.0}
    monkeypatch.setitem(cut_and_paste.CutAndPaste.card.variants, "small", quick)  # type: ignore[arg-type]
    vit = small_clip(tmp_path / "vit")
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: vit)
    monkeypatch.setattr("diptych.backbones.diffusion.load.load_diffusion", lambda name, b: random_diffusion(b))
    for i in range(3):
        coloured(tmp_path / "clips" / "one" / f"{i}.png", "red", i)
    coloured(tmp_path / "dog.png", "blue", 1)
    words = ("edit", "clips", "--frames", "2", "--source", "a red cup", "-m", "cut-and-paste", "--variant", "small")
    refused = diptych(*words, "--target", "a new thing", "-b", "vit")
    assert (refused.code, "give a pipeline as --denoiser, or continue anyway with --anyway" in refused.err) == (
        2,
        True,
    )
    words = (*words, "--anyway")
    got = diptych(*words, "--target", "a new thing", "--subject", "dog.png", "-b", "vit", "--json")
    assert got.code == 0, got.err
    assert set(got.data["pictures"][0]) == {
        "name", "area", "frames_without", "consistency", "consistency_before",
    }  # fmt: skip
    assert "never learnt cup, and no photographs: give a pipeline as --denoiser" in got.err
    with Image.open(tmp_path / "edits" / "one.png") as sheet:
        assert sheet.size == (2 * 256 + 16, 2 * 256 + 16)
        assert "compositeWithTrainedAlgorithmicMedia" in str(sheet.info)
    with Image.open(tmp_path / "edits" / "edited" / "one.png") as clip:
        assert (clip.n_frames, clip.width, "compositeWithTrained" in str(clip.info)) == (2, clip.height, True)
        side = clip.width
    pytest.importorskip("av")
    first, last = read_video(tmp_path / "edits" / "edited" / "one.mp4", 2)
    assert first.size == last.size == (-(-256 // side) * side,) * 2
    for bad, said in (
        (("--target", "a red cup with milk"), "only adds words"),
        (("--target", "a cup", "--subject", "dog.png"), "leaves no word for the subject"),
        (("--target", "a new thing", "-g", "small"), "does not read --generator"),
    ):
        got = diptych(*words, *bad, "-b", "vit", "--out", "bad")
        assert (got.code, said in got.err) == (2, True), got.err


@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_is_kept_by_its_path_and_fingerprint(diptych: Cli, tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    (tmp_path / "clips" / "one").mkdir(parents=True)
    for i in range(2):
        coloured(tmp_path / "clips" / "one" / f"{i}.png", "red", i)
    for layout in ("sd1", "sdxl"):
        small_pipeline(layout).save_pretrained(tmp_path / layout)
    words = ("edit", "clips", "--frames", "2", "--source", "a red cat", "--target", "a blue cat", "-m", "cut-and-paste")
    words += ("--set", "steps=2", "-b", "vit", "--fitted", "kept", "--json", "--overwrite")
    got = diptych(*words, "--denoiser", f"local:{tmp_path / 'sdxl'}")
    assert got.code == 0, got.err
    first = (tmp_path / "edits" / "one.png").read_bytes()
    assert sum(file.stat().st_size for file in (tmp_path / "kept").iterdir()) < 10_000
    again = diptych(*words)
    assert again.code == 0, again.err
    assert again.data["denoiser"] == f"local:{(tmp_path / 'sdxl').resolve()}"
    assert (tmp_path / "edits" / "one.png").read_bytes() == first
    other = diptych(*words, "--denoiser", f"local:{tmp_path / 'sd1'}")
    assert (other.code, "give that as --denoiser" in other.err) == (2, True), other.err
    (tmp_path / "sd3" / "transformer").mkdir(parents=True)
    for part in ("vae", "text_encoder", "text_encoder_2", "scheduler"):
        (tmp_path / "sd3" / part).mkdir()
    flow = diptych(*words, "--denoiser", f"local:{tmp_path / 'sd3'}")
    assert flow.code == 1, flow.err
    assert "predicts the velocity of a flow and has no cross-attention, and Cut-and-Paste inverts" in flow.err
    shutil.rmtree(tmp_path / "sdxl")
    lost = diptych(*words)
    assert (lost.code, "There is no folder" in lost.err) == (2, True), lost.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "--source"),
        (("--source", "a", "--target", "a"), 2, "same words"),
        ((*WORDS, "-g", "stylegan3"), 2, "names no generator"),
        ((*WORDS, "-g", "local:none.safetensors"), 2, "no weight file none.safetensors"),
        ((*WORDS, "-g", "local:ffhq.pkl"), 2, "convert it once"),
        (("photo.png", *WORDS, "-g", "factors"), 2, "photo.png"),
        (("photo.png", *WORDS, "--denoiser", "small"), 2, "does not read --denoiser"),
        ((*WORDS, "--denoiser", "small"), 2, "but cut-and-paste does"),
        ((*WORDS, "--target", "a cup"), 2, "1 target text"),
        ((*WORDS, "--like", "photos"), 2, "photos"),
        (("a.png", "b.png", "--target", "cup: blue", "--mask", "m.png", "-m", "mosaic"), 2, "one photo"),
        ((*WORDS, "--mask", "m.png"), 2, "but mosaic does"),
        ((*WORDS, "-m", "gda"), 2, "gda is no editor"),
        ((*WORDS, "--variant", "huge"), 2, "no variant 'huge'"),
        (("not.jpg", "--target", "a cup", "-m", "galip"), 2, "use generate, with galip as --method"),
        (("not.jpg", "--target", "a cup", "-m", "clipinverter", "-n", "2"), 2, "so --count has no effect"),
        (("not.jpg", "--target", "cup: blue", "-m", "mosaic", "--out", "/proc/nothing"), 2, "cannot be written"),
        (
            ("not.jpg", "--target", "cup: blue", "-m", "mosaic", "--variant", "small"),
            1,
            "No photo can be read (not.jpg",
        ),
    ],
)
def test_errors_name_the_remedy(diptych: Cli, tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    (tmp_path / "not.jpg").write_text("these are no pixels")
    got = diptych("edit", *words)
    assert (got.code, said in got.err) == (code, True), got.err
