from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from diptych.backbones.mask_models.sam import SamMasks
from diptych.core import (
    Backbone,
    ClassNames,
    Evidence,
    Kit,
    MissingEvidence,
    MissingPart,
    Prompted,
    Prompts,
    Run,
    Seen,
    Table,
)
from diptych.features import portable
from diptych.features.heads import text_head
from diptych.methods.segment.sam_clip import SAMCLIP, FittedSAMCLIP, drawn, questions, recipe
from diptych.nn.dense.label_maps import dense_map, squashed
from tests.support.pictures import Pictures
from tests.support.refused import refused
from tests.support.sam import SIDE, small_sam
from tests.support.small_clip import small_clip

NAMES = ClassNames(("cat", "dog", "red barn"))
QUICK = SAMCLIP(side=SIDE, taught_side=SIDE, prompts=2, batch=4, probe_epochs=1, epochs=1, hidden=24)
SAM = SamMasks(small_sam())


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def photo(seed: int = 3, width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


PHOTOS = Pictures(tuple(photo(k) for k in range(8)))


def fit(method: SAMCLIP, backbone: Backbone, **given: Any) -> FittedSAMCLIP:
    evidence = Evidence(unlabelled=PHOTOS, **given)
    return method.fit(Kit({"main": backbone, "masks": SAM}), NAMES, evidence, Run())


def maps(fitted: FittedSAMCLIP) -> torch.Tensor:
    (found,) = fitted.regions(Pictures((photo(),)), Run())
    return dense_map(found)


@torch.no_grad()
def test_cells_are_compared_with_the_names(vit: Backbone) -> None:
    fitted = fit(QUICK, vit)
    student = fitted.student()
    v = student.dense(student.tokens(squashed(photo(), recipe(SAM), SIDE)))[0]
    head = text_head(vit, NAMES.prompts(), Run())
    expected = torch.stack([float(vit.scale()[0]) * F.cosine_similarity(v, t[:, None, None], dim=0) for t in head])
    torch.testing.assert_close(maps(fitted), expected, atol=1e-3, rtol=1e-4)


def test_what_each_stage_moves(vit: Backbone) -> None:
    """Without the second stage SAM stays as it was; without replay its decoder does; the prompt encoder always does."""

    def moved(fitted: FittedSAMCLIP, part: str) -> bool:
        before = SAM.model.state_dict()
        names = [n for n in before if n.startswith(part)]
        return any(not torch.equal(before[n], fitted.learnt[f"sam.{n}"]) for n in names)

    for method, expected in (
        (replace(QUICK, joint=False), (False, False)),
        (replace(QUICK, weight=0.0), (True, False)),
        (QUICK, (True, True)),
    ):
        fitted = fit(method, vit)
        assert (moved(fitted, "vision_encoder"), moved(fitted, "mask_decoder")) == expected
        assert not moved(fitted, "prompt_encoder")
        last = SAM.model.vision_encoder.layers[-1].mlp.lin1.weight
        assert not torch.equal(fitted.learnt["blocks.0.mlp.lin1.weight"], last)
        assert all(p.grad is None for p in SAM.model.parameters())


def test_the_student_approaches_both_teachers(vit: Backbone) -> None:
    """After many steps its embeddings are nearer to CLIP's, and its masks nearer to SAM's than without replay."""
    from diptych.features.embed import embed
    from diptych.nn.dense.two_heads import clip_loss, mask_loss

    taught = embed(vit.image, PHOTOS, Run())
    x = torch.cat([squashed(p, recipe(SAM), SIDE) for p in PHOTOS.images])

    def far(fitted: FittedSAMCLIP) -> tuple[float, float]:
        student = fitted.student()
        with torch.no_grad():
            asked = [questions(SAM, p, 4, torch.Generator().manual_seed(k)) for k, p in enumerate(PHOTOS.images)]
            shown = torch.cat([SAM.pixels(p)[0] for p in PHOTOS.images])
            points, boxes, answers = (torch.stack([a[n] for a in asked]) for n in ("points", "boxes", "answers"))
            drawn = student.decoded(student.tokens(shown), points, boxes)
            return float(clip_loss(student.pooled(student.tokens(x)), taught)), float(mask_loss(drawn, answers))

    long = replace(QUICK, probe_epochs=2, epochs=10, rate=3e-3, shares=(1, 1))
    probe, without, both = (far(fit(m, vit)) for m in (replace(QUICK, joint=False), replace(long, weight=0.0), long))
    assert without[0] < probe[0]
    assert both[0] < probe[0]
    assert both[1] < without[1]


def test_questions_are_points_and_the_boxes_of_their_masks() -> None:
    asked = questions(SAM, photo(), 5, torch.Generator().manual_seed(0))
    assert asked["points"].shape == (5, 2)
    assert (asked["points"][:, 1] <= SIDE * 48 / 64).all()  # only where the photo is
    assert asked["boxes"].shape == (5, 4)
    assert (asked["boxes"][:, 2:] > asked["boxes"][:, :2]).all()
    assert asked["answers"].shape == (10, 32, 32)
    again = questions(SAM, photo(), 5, torch.Generator().manual_seed(0))
    assert all(torch.equal(asked[n], again[n]) for n in asked)
    seen = SAM.see(photo())
    scale = torch.tensor([1 / seen.scale[1], 1 / seen.scale[0]])
    whole = SAM.ask(seen, Prompts(points=(asked["points"] * scale)[:, None])).logits[:, 0]
    low = F.interpolate(asked["answers"][None, :5].logit(), (SIDE, SIDE), mode="bilinear")[0, :, :48]
    torch.testing.assert_close(F.interpolate(low[None], (48, 64), mode="bilinear")[0], whole, atol=1e-2, rtol=1e-2)


class Echo:
    """Draws the rough mask that it is given, and keeps the prompts."""

    fingerprint = "echo"

    def see(self, image: Any, /) -> Seen:
        return Seen((torch.zeros(1, 1, 1, 1),), (image.height, image.width), (1.0, 1.0))

    def ask(self, seen: Seen, prompts: Prompts, /, *, several: bool = False) -> Prompted:
        self.asked = prompts
        assert prompts.masks is not None
        return Prompted(F.interpolate(prompts.masks[:, None], seen.size, mode="nearest"), torch.ones(len(prompts), 1))


def test_classes_that_are_found_are_drawn_and_the_others_lie_below() -> None:
    logits = torch.full((3, 2, 4), -9.0)
    logits[0, :, :2], logits[2, :, 2:] = 9.0, 9.0
    echo = Echo()
    out = drawn(echo, photo(), logits, torch.Generator().manual_seed(0))
    assert out.shape == (3, 24, 32)
    assert (out.argmax(0)[:, :16] == 0).all()
    assert (out.argmax(0)[:, 16:] == 2).all()
    assert (out[1] < out[[0, 2]].min()).all()
    assert echo.asked.points is not None
    assert echo.asked.labels is not None
    assert (echo.asked.points[0, :, 0] < 32).all()
    assert (echo.asked.labels == 1).all()
    assert torch.equal(drawn(echo, photo(), torch.zeros(3, 2, 2), torch.Generator()), torch.zeros(3, 2, 2))
    few = torch.zeros(3, 2, 4)
    few[1, 0, 0] = 9.0
    drawn(echo, photo(), few, torch.Generator().manual_seed(0))
    assert echo.asked.labels.tolist() == [[1, -10, -10]]
    assert echo.asked.points[0, 0].tolist() == [8, 12]


def test_both_heads_and_the_round_trip(vit: Backbone, tmp_path: Path) -> None:
    fitted = fit(replace(QUICK, heads="both"), vit)
    assert maps(fitted).shape[0] == 3
    portable.save(fitted, tmp_path / "f")
    again = portable.load(tmp_path / "f", Kit({"main": vit, "masks": SAM}))
    assert torch.equal(maps(again), maps(fitted))
    turned = fitted.for_classes(ClassNames(tuple(reversed(NAMES.names))), Run())
    alone = replace(fitted, method=QUICK), replace(turned, method=QUICK)
    torch.testing.assert_close(maps(alone[1]).flip(0), maps(alone[0]), atol=1e-4, rtol=0)


def test_photos_of_sam_may_be_others(vit: Backbone) -> None:
    others = Table(Pictures(tuple(photo(k) for k in range(20, 26))))
    one, two = fit(QUICK, vit), fit(QUICK, vit, auxiliary=others)
    name = "sam.mask_decoder.output_hypernetworks_mlps.0.proj_in.weight"
    assert not torch.equal(one.learnt[name], two.learnt[name])


def test_few_photos_make_smaller_batches_and_too_few_are_refused(vit: Backbone) -> None:
    """Seven photos fill no batch of 32 with shares of 3 and 1: two units of them do."""
    wide = replace(QUICK, batch=32)
    kit = Kit({"main": vit, "masks": SAM})
    few = wide.fit(kit, NAMES, Evidence(unlabelled=Pictures(PHOTOS.images[:7])), Run())
    for part in ("vision_encoder.patch_embed", "mask_decoder"):
        before = SAM.model.state_dict()
        assert any(not torch.equal(t, few.learnt[f"sam.{n}"]) for n, t in before.items() if n.startswith(part))
    with pytest.raises(MissingEvidence, match="3 photos of CLIP in each unit of a batch, and 2 were given"):
        wide.fit(kit, NAMES, Evidence(unlabelled=Pictures(PHOTOS.images[:2])), Run())


def test_what_is_missing_is_named(vit: Backbone) -> None:
    with pytest.raises(MissingPart, match="masks"):
        QUICK.fit(Kit({"main": vit}), NAMES, Evidence(unlabelled=PHOTOS), Run())
    with pytest.raises(MissingPart, match="sam-vit-base"):
        QUICK.fit(Kit({"main": vit, "masks": Echo()}), NAMES, Evidence(unlabelled=PHOTOS), Run())
    with pytest.raises(MissingEvidence, match="unlabelled"):
        QUICK.fit(Kit({"main": vit, "masks": SAM}), NAMES, Evidence(), Run())


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight": -1.0}, {"heads": "sam"}, {"side": 0}, {"taught_side": 0}, {"prompts": 0}, {"shares": (0, 1)},
        {"hidden": 0}, {"probe_rate": 0.0}, {"rate": 0.0}, {"probe_epochs": 0}, {"epochs": 0}, {"batch": 6},
        {"photos": 0},
    ],
)  # fmt: skip
def test_values_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    refused(SAMCLIP, wrong)
