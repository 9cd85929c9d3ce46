from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diptych.backbones.generators.factors import FactorGenerator
from diptych.core import EditAsk, Evidence, Kit, MissingPart, Row, Run, Styles, UsageError
from diptych.methods.edit import deltaedit as m
from diptych.methods.edit.deltaedit import DeltaEdit, FittedDeltaEdit
from diptych.nn.delta_mapper import DeltaMapper, another, direction, terms
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, picture
from tests.support.refused import refused

BACKBONE, GENERATOR = SmallBackbone(), FactorGenerator(8, ("red", "blue"), ("circle", "square"))
SHORT = {"bank": 24, "passes": 2, "batch": 8, "width": 8, "probes": 3, "rate": 0.1}
KIT = Kit({"main": BACKBONE, "generator": GENERATOR})
STYLES = GENERATOR.sample(4, torch.Generator().manual_seed(9))


class Mean:
    """An inverter that gives every picture the styles of its mean red, green and blue."""

    def invert(self, images: Tensor, /) -> Styles:
        s = images.mean((2, 3)).repeat(1, 4)[:, :10]
        return Styles(s, s[:, :0])


@pytest.fixture(scope="module")
def fitted() -> FittedDeltaEdit:
    return DeltaEdit(**SHORT, beta=0.0).fit(KIT, Evidence(), Run(seed=1))  # type: ignore[arg-type]


def test_an_edit_against_its_steps_one_by_one(fitted: FittedDeltaEdit) -> None:
    some = replace(fitted, method=replace(fitted.method, beta=0.02))
    found = some.edit(EditAsk("a red circle", "a blue circle", styles=STYLES), Run(batch=3))

    def said(words: str) -> Any:
        rows = [
            BACKBONE.text.encode(BACKBONE.text.inputs([f.replace("{}", words)]))[0].double().numpy() for f in m.FRAMES
        ]
        mean = np.mean([r / np.linalg.norm(r) for r in rows], axis=0)
        return mean / np.linalg.norm(mean)

    d = said("a blue circle") - said("a red circle")
    mapper = DeltaMapper(GENERATOR.channels, 16, width=8)
    mapper.load_state_dict(dict(fitted.mapper))
    moved = 0
    for b in range(4):
        before = GENERATOR.synthesise(STYLES.take(slice(b, b + 1)))
        with torch.no_grad():
            i = torch.nn.functional.normalize(BACKBONE.image.encode(BACKBONE.image.inputs(list(before))), dim=-1)
            change = mapper(STYLES.s[b : b + 1], i, torch.tensor(d / np.linalg.norm(d))[None].float())[0].numpy()
        mask = np.array([abs(float(row.double().numpy() @ d)) >= 0.02 for row in fitted.relevance])
        moved += int(mask.sum())
        assert found.change is not None
        np.testing.assert_allclose(found.change[b].numpy(), mask * change, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.before[b], before[0], rtol=1e-4, atol=1e-5)
        after = GENERATOR.synthesise(Styles(STYLES.s[b : b + 1] + found.change[b], STYLES.rest[b : b + 1]))[0]
        torch.testing.assert_close(found.after[b], after, rtol=1e-4, atol=1e-5)
    assert 0 < moved < 40


class Bright(FactorGenerator):
    """Draws brighter than a picture can be."""

    def unclipped(self, styles: Styles) -> Tensor:
        return 3 * super().synthesise(styles) - 0.5

    def synthesise(self, styles: Styles, /) -> Tensor:
        return self.unclipped(styles).clamp(0, 1)


def test_pooled_pixels_are_not_clipped_as_in_the_authors_code() -> None:
    bright = Bright(8, ("red", "blue"), ("circle", "square"))
    kit = Kit({"main": BACKBONE, "generator": bright})
    with torch.no_grad():
        plain = bright.unclipped(STYLES)
        assert plain.max() > 1.5
        side = BACKBONE.image.size
        enlarged = torch.nn.functional.interpolate(plain, scale_factor=side, mode="nearest")
        x = torch.nn.functional.avg_pool2d(enlarged, 8) * 2 - 1
        expected = torch.nn.functional.normalize(BACKBONE.image.encode(x).float(), dim=-1)
    method = DeltaEdit(**SHORT, beta=0.0, pixels="pooled")  # type: ignore[arg-type]
    bank, vectors = method.pictures(kit, Evidence(), Run(seed=1))
    some = m.embedded(bright, BACKBONE, STYLES, Run(), method.vectors, clipped=method.clips)
    torch.testing.assert_close(some, expected, rtol=1e-4, atol=1e-5)
    fitted = method.from_pictures(kit, bank, vectors, Run(seed=1))
    mapper = method.fresh_mapper(bright, BACKBONE, Run())
    mapper.load_state_dict(dict(fitted.mapper))
    d = fitted.difference("red", "blue", Run())
    found = fitted.edit(EditAsk("red", "blue", styles=STYLES), Run())
    with torch.no_grad():
        change = mapper(STYLES.s, expected, torch.nn.functional.normalize(d, dim=0).expand(4, -1))
    assert found.change is not None
    torch.testing.assert_close(found.change, change, rtol=1e-3, atol=1e-4)
    assert torch.equal(found.before, bright.synthesise(STYLES))


def test_an_infinite_threshold_or_no_difference_leaves_every_bit(fitted: FittedDeltaEdit) -> None:
    never = replace(fitted, method=replace(fitted.method, beta=math.inf))
    for editor, target in ((never, "a blue square"), (fitted, "a red circle")):
        found = editor.edit(EditAsk("a red circle", target, styles=STYLES), Run())
        assert torch.equal(found.after, found.before)
        assert found.change is not None
        assert not found.change.any()
    assert not torch.equal(
        *(getattr(fitted.edit(EditAsk("red", "blue", styles=STYLES), Run()), n) for n in ("before", "after"))
    )


def test_pairs_are_two_pictures_and_every_pass_draws_anew() -> None:
    row = Row(None, 2, "k")
    drawn = [another(row, torch.Generator().manual_seed(k), 5) for k in range(60)]
    assert {v["first"] for v in drawn} == {2}
    assert {v["second"] for v in drawn} == {0, 1, 3, 4}


def test_training_learns_a_change_that_vectors_tell() -> None:
    g = torch.Generator().manual_seed(0)
    s = torch.randn(64, 10, generator=g)
    i = torch.nn.functional.normalize(
        torch.cat([s, torch.ones(64, 6)], dim=1), dim=1
    )  # vectors that hold the whole style
    method = DeltaEdit(**{**SHORT, "passes": 30, "batch": 16, "width": 32})  # type: ignore[arg-type]
    mapper = method.fresh_mapper(GENERATOR, BACKBONE, Run(seed=0))

    def loss() -> float:
        with torch.no_grad():
            return terms(mapper(s, i, direction(i, i.roll(1, 0))), s.roll(1, 0) - s)["cosine"].item()

    before = loss()
    mapper.load_state_dict(method.mapper_weights(GENERATOR, BACKBONE, s, i, Run(seed=0)))
    assert loss() < 0.7 * before


def test_photos_pass_through_the_inverter_in_the_bank_and_in_an_edit() -> None:
    photos = Pictures(tuple(picture(k, k) for k in range(3)))
    kit = Kit({**KIT.parts, "inverter": Mean()})
    method = DeltaEdit(**SHORT)  # type: ignore[arg-type]
    bank, vectors = method.pictures(kit, Evidence(unlabelled=photos), Run())
    assert (len(bank), vectors.shape) == (27, (27, 16))
    found = method.fit(kit, Evidence(unlabelled=photos), Run()).edit(EditAsk("red", "blue", images=photos), Run())
    assert torch.equal(found.before, GENERATOR.synthesise(bank.take(slice(24, 27))))
    with pytest.raises(MissingPart, match="Inverter named 'inverter'"):
        method.fit(KIT, Evidence(unlabelled=photos), Run())


def test_bad_input_is_named(fitted: FittedDeltaEdit) -> None:
    refused(
        DeltaEdit, {"bank": 1}, {"beta": -0.1}, {"beta": math.nan}, {"rate": 0.0}, {"width": 0}, {"levels": (-1, 2)}
    )
    refused(DeltaEdit, {"frames": ("no place",)})
    with pytest.raises(MissingPart, match="StyleGenerator named 'generator'"):
        DeltaEdit(**SHORT).fit(Kit({"main": BACKBONE}), Evidence(), Run())  # type: ignore[arg-type]
    photos = Pictures((picture(0, 0),))
    with pytest.raises(MissingPart, match="Photos can be edited only with an inverter"):
        fitted.edit(EditAsk("red", "blue", images=photos), Run())
    with pytest.raises(UsageError, match="not with words alone"):
        fitted.edit(EditAsk("red", "blue"), Run())
    with pytest.raises(UsageError, match="takes 1 target text at once, got 2"):
        fitted.edit(EditAsk("red", ("blue", "green"), STYLES), Run())
