"""Extenders of every modality are fitted, measured and kept by one road."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from diptych.core import ClassNames, DataError, Evidence, Kit, Run, UsageError
from diptych.data.modalities import CLIPS, STARS
from diptych.features.embed import embed
from diptych.features.spaces import load_space
from diptych.methods.extend.vifi_clip import ClipTrainee, ViFiCLIP
from diptych.nn.spaces.star_space import TunedStars
from diptych.tasks.extend import extend
from tests.cli.conftest import diptych  # noqa: F401
from tests.support.clouds import shape
from tests.support.colours import coloured
from tests.support.sky import TINY, extended_stars, sky
from tests.support.small_clip import small_clip
from tests.support.visual_backbone import VisualBackbone

Cli = Callable[..., Any]
KINDS = ("box", "stick", "plate")


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for split in ("train", "test"):
        for colour in ("red", "blue"):
            for clip in range(4):
                folder = tmp_path / "set" / split / colour / f"clip{clip}"
                folder.mkdir(parents=True)
                for n in range(2):
                    coloured(folder / f"{n}.png", colour, 10 * clip + n + (100 if split == "test" else 0))
    vit = small_clip(tmp_path / "vit")
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: vit)
    return tmp_path / "set"


@pytest.fixture
def clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three kinds of clouds, five to learn from and three to test on, and a small random backbone."""
    for split, each in (("train", 5), ("test", 3)):
        for k, kind in enumerate(KINDS):
            folder = tmp_path / "set" / split / kind
            folder.mkdir(parents=True)
            for n in range(each):
                np.savetxt(folder / f"{n}.xyz", shape(k, n + (50 if split == "test" else 0)).points)
    vit = small_clip(tmp_path / "vit")
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: vit)
    return tmp_path / "set"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stars")
    extended_stars(sky(root / "sky"), root / "model")
    return root


def right(answer: Any) -> int:
    return sum(p["labels"][0]["label"] == Path(p["path"]).parent.name for p in answer.data["predictions"])


def test_alignment_is_trained_kept_and_used(diptych: Cli, clips: Path, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "aligned"
    out.mkdir()
    options = ("--frames", "2", "--method", "ila")
    got = diptych("extend", clips, *options, "--epochs", "12", "--out", out, "--json")
    assert got.code == 0, got.err
    assert (got.data["method"], got.data["clips"], got.data["tested"]) == ("ila", 8, 8)
    assert list(got.data["right"]) == ["frame-mean", "ila"]
    used = diptych("classify", clips / "test", "--model", out, "--json", "-k", "1")
    assert used.code == 0, used.err
    assert right(used) == got.data["right"]["ila"]
    got = diptych("classify", clips / "test", "--model", out, "--frames", "3")
    assert (got.code, "2 frames per clip" in got.err) == (2, True)
    got = diptych("extend", clips, "--method", "ila", "--frames", "1", "--out", tmp_path / "x")
    assert (got.code, "frames must be at least 2" in got.err) == (2, True)
    got = diptych("extend", clips, "--method", "ila", "--tunes", "full", "--out", tmp_path / "x")
    assert (got.code, "ila does not read --tunes, but vifi-clip does" in got.err) == (2, True), got.err


def test_any_extender_of_the_catalog_is_taken(diptych: Cli, clips: Path, tmp_path: Path) -> None:  # noqa: F811
    got = diptych("extend", clips, "--method", "frame-mean", "--frames", "2", "--out", tmp_path / "mean", "--json")
    assert got.code == 0, got.err
    assert list(got.data["right"]) == ["frame-mean"]
    used = diptych("classify", clips / "test", "--model", tmp_path / "mean", "--json", "-k", "1")
    assert right(used) == got.data["right"]["frame-mean"]
    got = diptych("extend", clips, "--method", "mean", "--out", tmp_path / "x")
    assert (got.code, "no system 'mean' of extend" in got.err) == (2, True)
    got = diptych("extend", clips, "--method", "clip2point", "--out", tmp_path / "x")
    assert (got.code, "there is no cloud" in got.err.lower() or "cloud" in got.err) == (1, True), got.err


def test_a_tuned_backbone_is_kept_as_a_space_too(clips: Path, tmp_path: Path) -> None:
    data, vit = CLIPS.open([str(clips)]), small_clip(tmp_path / "again")
    method = ViFiCLIP(tunes="heads", frames=2, epochs=3)
    result = extend(data, ClassNames(data.classes, ("a {}.",)), vit, method, Run(), out=tmp_path / "tuned")
    again = load_space(tmp_path / "tuned", Kit({"main": vit}))
    assert again.fingerprint == result.space.fingerprint != vit.fingerprint
    assert (tmp_path / "tuned" / "open_clip_config.json").is_file()  # also a backbone for local:FOLDER


def test_a_fit_that_was_stopped_goes_on_to_the_same_bits(clips: Path, tmp_path: Path) -> None:
    data, method = CLIPS.open([str(clips)]), ViFiCLIP(tunes="heads", frames=2, epochs=4)
    classes, vit, cpu = ClassNames(data.classes, ("a {}.",)), small_clip(tmp_path / "again"), Run()
    whole, half, losses, steps = tmp_path / "whole", tmp_path / "half", ClipTrainee.losses, count()

    def killed(*given: Any) -> Any:
        if next(steps) == 2:
            raise RuntimeError("killed")
        return losses(*given)

    with patch.object(ClipTrainee, "losses", killed):
        with pytest.raises(RuntimeError, match="killed"):
            extend(data, classes, vit, method, cpu, out=half)
        assert not half.exists()
        with pytest.warns(UserWarning, match="goes on"):
            extend(data, classes, vit, method, cpu, out=half)
    assert next(steps) == 5, "no step is taken again but the one that was killed"
    extend(data, classes, vit, method, cpu, out=whole, workers=2)
    assert (half / "tensors.safetensors").read_bytes() == (whole / "tensors.safetensors").read_bytes()
    assert not (tmp_path / "half.training").exists()


def test_adapters_are_trained_kept_and_used(diptych: Cli, clouds: Path, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "adapters"
    got = diptych("extend", clouds, "--epochs", "60", "--template", "image of a {}.", "--out", out, "--json")
    assert got.code == 0, got.err
    assert (got.data["clouds"], got.data["tested"], got.data["held"]) == (15, 9, "test")
    assert got.data["right"]["clip2point"] > got.data["right"]["zero-shot"]
    used = diptych("classify", clouds / "test", "--model", out, "--json", "-k", "1")
    assert used.code == 0, used.err
    assert right(used) == got.data["right"]["clip2point"]
    again = diptych("extend", clouds, "--out", out)
    assert (again.code, "exists" in again.err) == (2, True)


def test_wrong_use_of_clouds_is_one_sentence(diptych: Cli, clouds: Path, tmp_path: Path) -> None:  # noqa: F811
    for words, code, says in (
        (("--label", "kind"), 2, "light curves"),
        (("--method", "ila"), 2, "ila learns from clips, and these are point clouds: take clip2point"),
        (("--frames", "2"), 2, "clip2point does not read --frames: leave it out."),
    ):
        got = diptych("extend", clouds, *words, "--out", tmp_path / "x")
        assert (got.code, says in got.err) == (code, True), got.err
    got = diptych("extend", clouds / "train/box", "--out", tmp_path / "x")
    assert (got.code, "no class folders" in got.err) == (2, True)
    got = diptych("extend", clouds / "train", "--out", tmp_path / "x")
    assert (got.code, "no train split" in got.err) == (1, True)


def test_stars_are_aligned_tuned_and_measured(made: Path) -> None:
    result = extended_stars(made / "sky")
    assert (result.counts, result.held, result.tested) == ({"aligned": 16, "labelled": 15}, "test", 6)
    assert result.right == {"from scratch": 6, "astrom3": 6}  # the two kinds are as different as can be
    assert [e.name for e in result.failed] == ["s22", "s23"]
    assert "15 measurements" in result.failed[0].reason
    assert "days" in result.failed[1].reason
    assert result.as_dict()["out"] is None
    kept = load_space(made / "model")
    assert isinstance(kept, TunedStars)
    stars = STARS.open([str(made / "sky")]).split("test").take([0, 1, 2]).items
    encoders = [space.encoders["photometry"] for space in (kept, result.space)]
    np.testing.assert_array_equal(*(embed(encoder, stars, Run()) for encoder in encoders))


def test_stars_that_teach_nothing_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is overwritten"):
        extended_stars(made / "sky", made / "model")
    (tmp_path / "light_curves.csv").write_text((made / "sky/light_curves.csv").read_text())
    with pytest.raises(DataError, match="no train split"):
        extended_stars(tmp_path)
    (tmp_path / "stars.csv").write_text("star_id,class\ns0,rising\ns1,rising\n")
    with pytest.raises(DataError, match="two or more classes"):
        extended_stars(tmp_path)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["extend", "{sky}", "--label", "colour"], 1, "no column colour"),
        (["extend", "{sky}", "--names", "a, b"], 2, "leave out --names"),
        (["extend", "{sky}", "--out", "{model}"], 2, "nothing is overwritten"),
        (["extend", ".", "--label", "colour"], 2, "--label is for light curves"),
        (["extend", "{sky}", "--backbone", "tiny"], 2, "astrom3 does not read --backbone: leave it out."),
    ],
)
def test_wrong_calls_are_one_sentence(diptych: Cli, made: Path, words: list[str], code: int, says: str) -> None:  # noqa: F811
    answer = diptych(*[w.replace("{sky}", str(made / "sky")).replace("{model}", str(made / "model")) for w in words])
    assert (answer.code, says in answer.err) == (code, True), answer.err


def test_what_a_card_needs_and_labels_do_not_give_is_said(clips: Path) -> None:
    data, method = CLIPS.open([str(clips)]), ViFiCLIP(frames=2, epochs=1)
    with pytest.raises(UsageError, match="there are 2 templates: give one"):
        extend(data, ClassNames(data.classes, ("a {}.", "the {}.")), VisualBackbone(), method, Run())
    assert TINY.untrained(Kit(), Evidence(), Run()) is None
