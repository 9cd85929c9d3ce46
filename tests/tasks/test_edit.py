from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.backbones.generators.factors import FactorGenerator
from diptych.backbones.generators.inverter import ConvInverter, fresh_encoder
from diptych.backbones.generators.stylegan2 import StyleGAN2, fresh_weights
from diptych.core.edit import StyleGenerator
from diptych.core.errors import DataError, MissingPart, UnreadableItem, UsageError
from diptych.core.run import Run
from diptych.methods.edit.deltaedit import DeltaEdit
from diptych.tasks.edit import edit, files, fitted_editor, need_inverter, strengths
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, picture

GENERATOR = FactorGenerator(16, ("red", "blue"), ("circle", "square"))
METHOD = DeltaEdit(beta=0.0, bank=12, passes=2, batch=4, width=8, probes=2)
RUN = Run(seed=4)


class Broken(Pictures):
    def __getitem__(self, index: int) -> Image.Image:
        if index == 1:
            raise UnreadableItem("one.png", "truncated PNG file")
        return super().__getitem__(index)


def test_pictures_before_and_after_with_strengths_of_channels(tmp_path: Path) -> None:
    fitted = fitted_editor(GENERATOR, SmallBackbone(), RUN, method=METHOD)
    found = edit(fitted, GENERATOR, "a red circle", "a blue circle", RUN, count=2)
    paths = found.write(tmp_path / "out", {"seed": 4})
    assert [p.name for p in paths] == ["seed4-1.png", "seed4-2.png"]
    data = json.loads((tmp_path / "out" / "edit.json").read_text())
    assert (data["source"], data["target"], data["seed"], data["channels"]) == (
        "a red circle",
        "a blue circle",
        4,
        [3, 2, 2, 3],
    )
    sheet = np.asarray(Image.open(paths[0]))
    assert sheet.shape == (256, 2 * 256 + 16, 3)
    before = np.rint(255 * found.pairs[0].before.permute(1, 2, 0).numpy())
    after = np.rint(255 * found.pairs[0].after.permute(1, 2, 0).numpy())
    assert (sheet[8::16, 8:256:16] == before).all()
    assert (sheet[8::16, 256 + 16 + 8 :: 16] == after).all()
    moved = data["pictures"][0]["moved"]
    change = torch.zeros(10)
    for row in moved:
        change[sum(GENERATOR.channels[: row["layer"]]) + row["channel"]] = row["strength"]
    assert found.pairs[0].change is not None
    torch.testing.assert_close(change, found.pairs[0].change, rtol=0, atol=2e-6)
    assert [abs(r["strength"]) for r in moved] == sorted((abs(r["strength"]) for r in moved), reverse=True)
    with pytest.raises(UsageError, match="exists"):
        found.write(tmp_path / "out", {})
    still = edit(fitted, GENERATOR, "a red circle", "a blue circle", RUN, count=2, threshold=9.0)
    assert strengths(still.pairs[0].change, GENERATOR.channels) == strengths(None, ()) == []
    again = edit(fitted, GENERATOR, "a red circle", "a blue circle", RUN, count=2)
    assert torch.equal(again.pairs[1].after, found.pairs[1].after)


def test_a_fitted_editor_is_kept_and_belongs_to_its_generator(tmp_path: Path) -> None:
    backbone = SmallBackbone()
    first = fitted_editor(GENERATOR, backbone, RUN, method=METHOD, folder=tmp_path / "kept")
    second = fitted_editor(GENERATOR, backbone, Run(seed=9), method=METHOD, folder=tmp_path / "kept")
    ends = [edit(f, GENERATOR, "red", "blue", RUN).pairs[0].after for f in (first, second)]
    assert torch.equal(*ends)
    with pytest.raises(UsageError, match="another generator"):
        fitted_editor(
            FactorGenerator(16, ("red", "blue"), ("circle", "star")),
            backbone,
            RUN,
            method=METHOD,
            folder=tmp_path / "kept",
        )
    with pytest.raises(UsageError, match="fitted as asked"):
        fitted_editor(GENERATOR, backbone, RUN, folder=tmp_path / "kept")
    with pytest.raises(UsageError, match="fitted on small"):
        fitted_editor(GENERATOR, SmallBackbone(seed=1), RUN, method=METHOD, folder=tmp_path / "kept")


def test_photos_pass_through_the_inverter_and_broken_ones_are_named(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    generator = StyleGAN2(fresh_weights(32, 8, {4: 4, 8: 4, 16: 3, 32: 3}, 1, g))
    assert isinstance(generator, StyleGenerator)
    inverter = ConvInverter(fresh_encoder(8, g), generator)
    fitted = fitted_editor(generator, SmallBackbone(), RUN, inverter=inverter, method=METHOD, folder=tmp_path / "kept")
    photos = Broken(tuple(picture(k, k) for k in range(3)))
    found = edit(fitted, generator, "red", "blue", RUN, images=photos)
    assert [p.name for p in found.pairs] == [photos.name(0), photos.name(2)]
    assert found.as_dict()["skipped"] == [{"path": "one.png", "reason": "truncated PNG file"}]
    with pytest.raises(DataError, match="No photo can be read"):
        edit(fitted, generator, "red", "blue", RUN, images=Pictures(()))
    known = fitted_editor(generator, SmallBackbone(), RUN, inverter=inverter, method=METHOD, folder=tmp_path / "kept")
    assert torch.equal(edit(known, generator, "red", "blue", RUN, images=photos).pairs[1].after, found.pairs[1].after)


def test_bad_words_and_missing_inverters_are_named() -> None:
    fitted = fitted_editor(GENERATOR, SmallBackbone(), RUN, method=METHOD)
    with pytest.raises(UsageError, match="same words"):
        edit(fitted, GENERATOR, "a red  circle", "a red circle", RUN)
    with pytest.raises(UsageError, match="needs words"):
        edit(fitted, GENERATOR, " ", "a red circle", RUN)
    with pytest.raises(MissingPart, match="use small"):
        need_inverter(None, "factors")


def test_files_of_equal_names_are_numbered_and_none_is_written_twice() -> None:
    assert [p.name for p in files(Path(), ["a/x.jpg", "y.png", "b/x.jpg"])] == ["x.png", "y.png", "x-2.png"]
    assert len(set(files(Path(), ["a.jpg", "a.png", "a-1.jpg", "a-2.jpg"]))) == 4
