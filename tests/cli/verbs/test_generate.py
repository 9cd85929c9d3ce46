from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diptych.backbones.diffusion.load import load_diffusion
from diptych.core import Backbone
from tests.backbones.diffusion.test_flow_folders import small_flow_pipeline
from tests.backbones.diffusion.test_pipeline_folders import small_pipeline
from tests.support.diffusion import random_diffusion
from tests.support.small_clip import small_clip

Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A denoiser with random weights in the place of the one that ships; pipelines are read."""
    diffusion = random_diffusion(small_clip(tmp_path_factory.mktemp("clip") / "vit"))

    def load(name: str, backbone: Backbone, **more: Any) -> Any:
        return diffusion if name == "small" else load_diffusion(name, backbone, **more)

    monkeypatch.setattr("diptych.backbones.diffusion.load.load_diffusion", load)


def test_pictures_and_their_listing(diptych: Cli, tmp_path: Path) -> None:
    words = ("generate", "a red circle", "a dog", "-n", "2", "--steps", "2", "--seed", "1", "--anyway")
    got = diptych(*words)
    assert got.code == 0
    assert 'never learnt dog in "a dog": ' in got.err
    assert got.out.split() == ["a-red-circle-1.png", "a-red-circle-2.png", "a-dog-1.png", "a-dog-2.png"]
    again = diptych(*words, "--out", "other", "--json")
    assert (again.data["target"], again.data["steps"]) == (["a red circle", "a dog"], 2)
    first, second = (tmp_path / place / "a-dog-2.png" for place in ("pictures", "other"))
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as picture:
        assert picture.size == (256, 256)
    assert (diptych(*words).code, "--overwrite" in diptych(*words).err) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((" ",), 2, "nothing to make a picture of"),
        (("a dog on the beach",), 2, "never learnt dog and beach: it draws one of 6 shapes"),
        (("a dog",), 2, "or continue anyway with --anyway"),
        (("a red circle", "--out", "/proc/nothing"), 2, "/proc/nothing cannot be written (No such file or directory)"),
        (("a dog", "-m", "galip", "--steps", "3"), 2, "galip does not read --steps: leave it out"),
        (("a dog", "--like", "photos.csv"), 2, "give --method"),
        (("a dog", "-m", "deltaedit"), 2, "not with words alone"),
        (("a dog", "-m", "gda"), 2, "gda is no editor"),
        (("a red star", "--steps", "1000"), 2, "got 1000"),
        (("a red star", "--negative", "blur"), 2, "never learnt blur: "),
        (("a red star", "--negative", "red", "--guidance", "1"), 2, "--negative has no effect"),
        (("a red star", "--scheduler", "euler"), 2, "--scheduler and --lora belong to pipelines"),
        (("a red star", "--scheduler", "heun"), 2, "scheduler must be ddim, euler"),
        (("a red star", "--lora", "folder"), 2, "--scheduler and --lora belong to pipelines"),
        (("a dog", "--denoiser", "local:nothing"), 2, "There is no folder nothing"),
    ],
)
def test_errors_name_the_remedy(diptych: Cli, words: tuple[str, ...], code: int, said: str) -> None:
    got = diptych("generate", *words)
    assert got.code == code
    assert said in got.err


@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_draws_with_a_negative_text_and_a_scheduler(diptych: Cli, tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    small_pipeline("sdxl").save_pretrained(tmp_path / "sdxl", variant="fp16")
    words = ("generate", "a dog", "-n", "1", "--steps", "2", "--denoiser", f"local:{tmp_path / 'sdxl'}")
    pictures = {}
    for name, more in {
        "plain": (),
        "negative": ("--negative", "a bad cat"),
        "euler": ("--scheduler", "euler"),
        "half": ("--precision", "fast"),
    }.items():
        got = diptych(*words, *more, "--out", name, "--json")
        assert got.code == 0, got.err
        assert got.data["negative"] == ("a bad cat" if name == "negative" else "")
        pictures[name] = (tmp_path / name / "a-dog-1.png").read_bytes()
    assert len(set(pictures.values())) == 4


@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_of_flow_matching_draws_with_its_own_schedulers(diptych: Cli, tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    small_flow_pipeline(t5=False).save_pretrained(tmp_path / "sd3", variant="fp16")
    words = ("generate", "a dog", "-n", "1", "--steps", "2", "--denoiser", f"local:{tmp_path / 'sd3'}")
    pictures = {}
    for name, more in {
        "plain": (),
        "negative": ("--negative", "a bad cat"),
        "heun-flow": ("--scheduler", "heun-flow"),
        "seed": ("--seed", "1"),
        "half": ("--precision", "fast"),
    }.items():
        got = diptych(*words, *more, "--out", name, "--json")
        assert got.code == 0, got.err
        assert got.data["scheduler"] == ("heun-flow" if name == "heun-flow" else "euler-flow")
        pictures[name] = (tmp_path / name / "a-dog-1.png").read_bytes()
    assert len(set(pictures.values())) == 5
    got = diptych(*words, "--scheduler", "dpm++", "--out", "other")
    assert got.code == 2
    assert "dpm++ is for denoisers that predict noise, and this one is of flow matching: give euler-flow" in got.err


def test_a_tilde_that_the_shell_left_is_the_home_folder(
    diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert diptych("generate", "a red circle", "-n", "1", "--steps", "1", "--out=~/drawn").code == 0
    assert (tmp_path / "home" / "drawn" / "generate.json").is_file()
