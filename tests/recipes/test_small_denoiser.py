from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diptych.backbones.diffusion.load import SMALL, load_small
from diptych.backbones.diffusion.patch_denoiser import DenoiserLayout
from diptych.backbones.sources.load import load
from diptych.core import Row, Run
from diptych.train.schedule import Fit
from recipes import small_denoiser
from recipes.small_denoiser import SmallDenoiserTrainee, judged, make, read_rightly

SMALLEST = DenoiserLayout(width=16, depth=1, heads=2, mlp=1)


def test_a_row_is_the_same_scene_again_and_a_tenth_has_no_text() -> None:
    trainee = SmallDenoiserTrainee(Run(seed=1), SMALLEST)

    def view(number: int) -> dict[str, object]:
        return dict(trainee.views(Row(number, number, str(number)), torch.Generator().manual_seed(number)))

    views = [view(i) for i in range(300)]
    assert 10 <= sum(v["text"] == "" for v in views) <= 55
    assert all(0 <= int(str(v["t"])) < 1000 for v in views)
    assert sum(int(str(v["t"])) < 500 for v in views) > 170  # steps are denser where there is less noise
    assert torch.equal(view(3)["x"], views[3]["x"])  # type: ignore[arg-type]
    assert -1 <= float(views[3]["x"].min()) <= float(views[3]["x"].max()) <= 1  # type: ignore[attr-defined]


def test_places_spread() -> None:
    trainee = SmallDenoiserTrainee(Run(seed=1), SMALLEST, spread=1000)
    first, later = ([trainee.drawn(n + k).objects[0] for k in range(20)] for n in (0, 1000))
    assert max(abs(c - 0.5) for one in first for c in one.centre) < 0.01
    assert 0.03 < max(abs(c - 0.5) for one in later for c in one.centre) < 0.15
    assert all(abs(one.side - 0.65) < 0.01 for one in first)


def test_texts_of_two_lengths_are_their_own_tokens() -> None:
    trainee = SmallDenoiserTrainee(Run(seed=1), SMALLEST)
    tokens, mask = trainee.told(["a red circle", ""], torch.device("cpu"))
    assert mask.sum(1).tolist() == [5, 2]
    alone, _ = trainee.told([""], torch.device("cpu"))
    torch.testing.assert_close(tokens[1, :2], alone[0])


def test_a_training_is_written_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_denoiser, "LAYOUT", SMALLEST)
    monkeypatch.setattr(SmallDenoiserTrainee.__init__, "__defaults__", (SMALLEST, 0))
    fit = Fit(lr=1e-3, batch=4, steps=3, save_every=1, ema=0.5)
    path = make(tmp_path / "a", fit)
    found = load_small(load("tiny"), path)
    assert found.layout == SMALLEST
    again = load_small(load("tiny"), make(tmp_path / "b", fit))
    assert again.fingerprint == found.fingerprint
    assert set(judged(found, each=1, steps=2)) == {"colour", "shape", "both", "pictures"}


def test_the_reader_reads_scenes() -> None:
    assert read_rightly(60) >= 0.95


@pytest.mark.skipif(not SMALL.is_file(), reason="the denoiser is not in this checkout")
@pytest.mark.slow
def test_colour_and_shape_are_read_from_nine_pictures_of_ten() -> None:
    assert SMALL.stat().st_size <= 4 * 2**20
    assert judged(load_small(load("tiny")), each=1)["both"] >= 0.85  # 48 pictures; the recorded figure is of 192
