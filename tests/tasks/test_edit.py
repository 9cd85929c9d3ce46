from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.backbones.generators.factors import FactorGenerator
from diptych.backbones.generators.load import ConvInverter
from diptych.backbones.generators.stylegan2 import StyleGAN2
from diptych.core import (
    DataError,
    EditAsk,
    Edited,
    FittedEditor,
    Kit,
    MissingPart,
    Run,
    StyleGenerator,
    UnreadableItem,
    UsageError,
)
from diptych.methods.edit.deltaedit import DeltaEdit
from diptych.tasks.edit import Edits, alone, drawn_ask, edit, files, fitted_editor, names_of, need_inverter, strengths
from diptych.tasks.provenance import CHANGED, MADE, origin
from recipes.fresh_generators import fresh_encoder, fresh_weights
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, picture

GENERATOR = FactorGenerator(16, ("red", "blue"), ("circle", "square"))
METHOD = DeltaEdit(beta=0.0, bank=12, passes=2, batch=4, width=8, probes=2)
RUN = Run(seed=4)


def kit(generator: StyleGenerator = GENERATOR, seed: int = 0, **more: object) -> Kit:
    return Kit({"main": SmallBackbone(seed=seed), "generator": generator, **more})


def drawn(source: str, target: str, count: int = 4, threshold: float | None = None) -> EditAsk:
    return drawn_ask(EditAsk(source, target, threshold=threshold), GENERATOR, count, RUN)


CHANNELS = GENERATOR.channels


def written(edits: Edits, folder: Path) -> list[Path]:
    """Write all pictures; return where they lie."""
    paths = files(folder, [pair.name for pair in edits.pairs])
    for pair, path in zip(edits.pairs, paths, strict=True):
        edits.write(pair, path, "x")
    return paths


class Broken(Pictures):
    def __getitem__(self, index: int) -> Image.Image:
        if index == 1:
            raise UnreadableItem("one.png", "truncated PNG file")
        return super().__getitem__(index)


def test_pictures_before_and_after_with_strengths_of_channels(tmp_path: Path) -> None:
    fitted = fitted_editor(kit(), RUN, method=METHOD)
    found = edit(fitted, drawn("a red circle", "a blue circle", 2), RUN, channels=CHANNELS)
    paths = written(found, tmp_path / "out")
    assert [p.name for p in paths] == ["seed4-1.png", "seed4-2.png"]
    data = found.facts()
    assert (data["source"], data["target"], data["channels"]) == ("a red circle", "a blue circle", [3, 2, 2, 3])
    sheet = np.asarray(Image.open(paths[0]))
    assert sheet.shape == (256, 2 * 256 + 16, 3)
    before = np.rint(255 * found.pairs[0].before.permute(1, 2, 0).numpy())
    after = np.rint(255 * found.pairs[0].after.permute(1, 2, 0).numpy())
    assert (sheet[8::16, 8:256:16] == before).all()
    assert (sheet[8::16, 256 + 16 + 8 :: 16] == after).all()
    moved = found.row(found.pairs[0])["moved"]
    change = torch.zeros(10)
    for row in moved:
        change[sum(GENERATOR.channels[: row["layer"]]) + row["channel"]] = row["strength"]
    assert found.pairs[0].change is not None
    torch.testing.assert_close(change, found.pairs[0].change, rtol=0, atol=2e-6)
    assert [abs(r["strength"]) for r in moved] == sorted((abs(r["strength"]) for r in moved), reverse=True)
    with pytest.raises(UsageError, match="exists"):
        written(found, tmp_path / "out")
    still = edit(fitted, drawn("a red circle", "a blue circle", 2, 9.0), RUN, channels=CHANNELS)
    assert strengths(still.pairs[0].change, GENERATOR.channels) == strengths(None, ()) == []
    again = edit(fitted, drawn("a red circle", "a blue circle", 2), RUN, channels=CHANNELS)
    assert torch.equal(again.pairs[1].after, found.pairs[1].after)


def test_a_fitted_editor_is_kept_and_belongs_to_its_generator(tmp_path: Path) -> None:
    first = fitted_editor(kit(), RUN, method=METHOD, folder=tmp_path / "kept")
    second = fitted_editor(kit(), Run(seed=9), method=METHOD, folder=tmp_path / "kept")
    ends = [edit(f, drawn("red", "blue"), RUN).pairs[0].after for f in (first, second)]
    assert torch.equal(*ends)
    with pytest.raises(UsageError, match="another generator"):
        fitted_editor(
            kit(FactorGenerator(16, ("red", "blue"), ("circle", "star"))), RUN, method=METHOD, folder=tmp_path / "kept"
        )
    with pytest.raises(UsageError, match="fitted as asked"):
        fitted_editor(kit(), RUN, folder=tmp_path / "kept")
    with pytest.raises(UsageError, match="fitted on small"):
        fitted_editor(kit(seed=1), RUN, method=METHOD, folder=tmp_path / "kept")


def test_photos_pass_through_the_inverter_and_broken_ones_are_named(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    generator = StyleGAN2(fresh_weights(32, 8, {4: 4, 8: 4, 16: 3, 32: 3}, 1, g))
    assert isinstance(generator, StyleGenerator)
    inverter = ConvInverter(fresh_encoder(8, g), generator)
    parts = kit(generator, inverter=inverter)
    fitted = fitted_editor(parts, RUN, method=METHOD, folder=tmp_path / "kept")
    photos = Broken(tuple(picture(k, k) for k in range(3)))
    found = edit(fitted, EditAsk("red", "blue", images=photos), RUN)
    assert [p.name for p in found.pairs] == [photos.name(0), photos.name(2)]
    assert [e.as_dict() for e in found.failed] == [{"path": "one.png", "reason": "truncated PNG file"}]
    with pytest.raises(DataError, match="No photo can be read"):
        edit(fitted, EditAsk("red", "blue", images=Pictures(())), RUN)
    known = fitted_editor(parts, RUN, method=METHOD, folder=tmp_path / "kept")
    again = edit(known, EditAsk("red", "blue", images=photos), RUN)
    assert torch.equal(again.pairs[1].after, found.pairs[1].after)
    with Image.open(written(found, tmp_path / "out")[0]) as sheet:
        assert origin(sheet) == CHANGED


def test_bad_words_and_missing_inverters_are_named() -> None:
    fitted = fitted_editor(kit(), RUN, method=METHOD)
    with pytest.raises(UsageError, match="same words"):
        edit(fitted, drawn("a red  circle", "a red circle"), RUN)
    with pytest.raises(UsageError, match="needs words"):
        edit(fitted, drawn(" ", "a red circle"), RUN)
    with pytest.raises(MissingPart, match="as inverter, or small as generator"):
        need_inverter(None, "factors")


def test_files_of_equal_names_are_numbered_and_none_is_written_twice() -> None:
    assert [p.name for p in files(Path(), ["a/x.jpg", "y.png", "b/x.jpg"])] == ["x.png", "y.png", "x-2.png"]
    assert len(set(files(Path(), ["a.jpg", "a.png", "a-1.jpg", "a-2.jpg"]))) == 4


class Clipped(FittedEditor):
    """Turns words into pictures of different sizes, and clips into longer ones."""

    def edit(self, ask: EditAsk, run: Run) -> Edited:
        if ask.clips is None:
            return Edited(
                (), tuple(torch.full((3, 16, 32 - 16 * i), 0.5) for i in range(2)), facts=({"n": 0}, {"n": 1})
            )
        frames = torch.zeros(2, 3, 8, 8)
        return Edited((frames,), (torch.ones(3, 3, 8, 8),))


def test_results_may_have_sizes_of_their_own_and_be_clips(tmp_path: Path) -> None:
    made = edit(Clipped(), EditAsk("", "A red cat!", count=2), RUN)
    assert names_of(made.ask, RUN) == ["A-red-cat-1", "A-red-cat-2"]
    assert [made.row(p)["n"] for p in made.pairs] == [0, 1]
    assert [p.text for p in made.pairs] == ["A red cat!"] * 2
    paths = written(made, tmp_path / "out")
    assert not alone(paths[0]).exists()  # there is no other
    for path, size in zip(paths, ((256, 128), (256, 256)), strict=True):
        with Image.open(path) as sheet:
            assert (sheet.size, origin(sheet)) == (size, MADE)

    class Clips(Pictures):
        def __getitem__(self, index: int) -> object:
            return (super().__getitem__(index),)

    clip = edit(Clipped(), EditAsk("", "a cat", clips=Clips((picture(0, 0),))), RUN)  # type: ignore[arg-type]
    assert clip.pairs[0].image().size == (3 * 256 + 2 * 16, 2 * 256 + 16)
    (path,) = written(clip, tmp_path / "clip")
    with Image.open(alone(path)) as found:
        assert (found.size, origin(found)) == ((8, 8), CHANGED)
