from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.core import NotAvailable, Run
from diptych.data.scenes.sprites import COLOURS
from diptych.methods.edit.mosaic import FittedMosaic, Mosaic
from diptych.methods.segment.maskclip import MaskCLIP
from proofs.benches.edits import styles
from proofs.benches.edits.styles import Pasted, background_psnr, margin, open_styles, scenes, shares
from tests.support.small_clip import small_clip


def test_scenes_have_two_different_objects_and_ask_for_two_other_colours() -> None:
    found = scenes(3)
    assert [one.prompts for one in found] == [one.prompts for one in scenes(3)]
    for one in found:
        first, second = one.shown.objects
        assert first.noun != second.noun
        assert len({first.colour, second.colour, *one.styles}) == 4


def test_a_picture_as_asked_has_margin_1_and_one_exchanged_has_minus_1() -> None:
    one = scenes(1)[0]
    picture = torch.from_numpy(one.shown.image.copy()).permute(2, 0, 1).float() / 255
    assert background_psnr(picture, one) == 99.0
    assert abs(margin(picture, one)) < 0.05

    def painted(colours: tuple[str, str]) -> torch.Tensor:
        out = picture.clone()
        for mask, colour in zip(one.shown.masks, colours, strict=True):
            out[:, torch.from_numpy(mask)] = torch.tensor(COLOURS[colour])[:, None] / 255
        return out

    assert margin(painted(one.styles), one) == pytest.approx(1.0)
    assert margin(painted(one.styles[::-1]), one) == pytest.approx(-1.0)
    assert background_psnr(picture * 0.9, one) < 40
    black = shares(torch.zeros(3, 4, 4), np.ones((4, 4), bool))
    assert black["black"] == 1.0


def test_pasted_styles_are_those_of_the_whole_picture(tmp_path: Path) -> None:
    own = FittedMosaic(small_clip(tmp_path / "vit"), Mosaic(steps=2, crops=2, side=16, width=4), MaskCLIP())
    x, mask = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(0)), torch.zeros(20, 24)
    mask[:, :9] = 1
    pasted, masked, whole = (
        one.stylised(x, m, "red", Run(), "k")
        for one, m in ((Pasted(**vars(own)), mask), (own, mask), (own, torch.ones(20, 24)))
    )
    assert torch.equal(pasted, whole)
    assert not torch.equal(pasted, masked)


def test_the_bench_measures_every_arm_once_a_seed(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    quick = {"steps": 1, "crops": 1, "side": 16, "width": 4, "crop": 0.5}
    monkeypatch.setitem(Mosaic.card.variants, "small", quick)  # type: ignore[arg-type]
    bench = open_styles("scenes", small_clip(tmp_path / "vit"), Run(), (1, 2), items=2)
    assert {arm: values.shape for arm, values in bench.table.items()} == {
        "own": (2, 2),
        "pasted": (2, 2),
        "whole picture": (2, 2),
        "masks of others": (2, 2),
    }
    assert bench.others["own"]["background_psnr_db"] == bench.others["pasted"]["background_psnr_db"] == 99.0
    assert bench.others["whole picture"]["background_psnr_db"] < 99.0
    with pytest.raises(NotAvailable, match="takes scenes"):
        open_styles("photos", small_clip(tmp_path / "again"), Run(), (1,))
    assert replace(styles.TRIALS["mosaic"]).bench is open_styles
