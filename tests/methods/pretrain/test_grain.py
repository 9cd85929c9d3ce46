"""GRAIN: matching and losses against loops, its limits, and the slots that stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import save
from diptych.core import DataError, Evidence, Kit, MissingEvidence, Row, Table
from diptych.methods.pretrain.grain import GRAIN, either_caption
from diptych.nn.contrastive import contrastive
from diptych.nn.dense.region_losses import box_loss, matched
from diptych.nn.dense.region_slots import read_slots
from diptych.train.recipe import train_space
from tests.support.refused import refused
from tests.support.small_clip import small_clip
from tests.train.test_pair import FIT, RUN, small, squares
from tests.train.test_regions import with_regions

METHOD = GRAIN(regions=3, width=16, depth=2, heads=2, hidden=32, dropout=0.0)


def trainee(method: GRAIN = METHOD, table: Table | None = None):
    (only,) = method.stages(Kit({"main": small()}), None, Evidence(train=table or with_regions()), RUN)
    return only


def batch(t, table: Table, rows=range(6)):
    cells = [Row(table.items[i], i, str(i), {n: c.values[i] for n, c in table.columns.items()}) for i in rows]
    return t.collate([t.views(row, RUN.generator(str(row.index))) for row in cells])


def test_terms_of_a_batch() -> None:
    table, method = with_regions(), replace(METHOD, boxes=0.5, descriptions=2.0)
    t = trainee(method, table)
    b = batch(t, table)
    losses = t.losses(b, "main", None)
    slots = read_slots(t.space, b["image"])
    said = normalize(t.space.text.encode(b["phrases"]), dim=-1)
    shown, z = [], []
    for i in range(1, 6):  # the first picture has no regions
        slot = matched(slots.boxes[i], b["boxes"][b["owner"] == i])
        shown.append(slots.boxes[i, slot])
        z.append(slots.regions[i, slot])
    torch.testing.assert_close(losses["boxes"], 0.5 * box_loss(torch.cat(shown), b["boxes"]))
    logits = t.space.scale()[0] * normalize(torch.cat(z), dim=-1) @ said.T
    ce = torch.nn.functional.cross_entropy(logits, torch.arange(10))
    torch.testing.assert_close(losses["descriptions"], 2.0 * ce)
    torch.testing.assert_close(losses["contrastive"], contrastive(t.embed(b), ("image", "text")))


def test_no_boxes_are_finite_and_one_region_has_no_negative() -> None:
    table = with_regions()
    t = trainee(table=table)
    none = t.losses(batch(t, table, [0, 0]), "main", None)
    assert [none[name].item() for name in ("boxes", "descriptions")] == [0, 0]
    sum(none.values()).backward()
    one = t.losses(batch(t, with_regions(each=1), [0, 1]), "main", None)
    assert one["descriptions"].item() == pytest.approx(0, abs=1e-6)
    assert one["boxes"].item() > 0


def test_slots_learn_places_and_stay_after_saving(tmp_path: Path) -> None:
    table = with_regions(20)
    fit = replace(FIT, steps=130, lr=3e-3)
    made = train_space(METHOD, Kit({"main": small_clip(tmp_path / "clip")}), Evidence(train=table), fit, RUN).space
    save(made, tmp_path / "model")
    again = load(f"local:{tmp_path / 'model'}")
    with torch.no_grad():
        slots = read_slots(again, again.image.inputs([table.items[i] for i in range(5, 10)]))
        halves = torch.tensor([[0, 0, 0.5, 1], [0.5, 0, 1, 1]])
        places = [matched(own, halves) for own in slots.boxes]
        shown = torch.stack([own[p] for own, p in zip(slots.boxes, places, strict=True)])
        z = torch.cat([own[p] for own, p in zip(slots.regions, places, strict=True)])
        texts = [f"{side} of {i}" for i in range(5) for side in ("left", "right")]
        y = normalize(again.text.encode(again.text.inputs(texts)), dim=-1)
    assert (shown - halves).abs().mean() < 0.1
    assert (normalize(z, dim=-1) @ y.T).argmax(1).eq(torch.arange(10)).float().mean() > 0.7
    (further,) = METHOD.stages(Kit({"main": again}), None, Evidence(train=table), RUN)
    assert further.space.spec.changes == again.spec.changes  # it goes on with its slots


def test_a_backbone_that_has_slots_takes_no_more_regions_than_these() -> None:
    table, one = with_regions(), replace(METHOD, regions=1)
    (t,) = replace(METHOD, regions=5).stages(Kit({"main": one.slotted(small(), RUN)}), None, Evidence(train=table), RUN)
    read = batch(t, table)
    assert read["owner"].tolist() == [1, 2, 3, 4, 5]  # of two regions per picture
    assert t.losses(read, "main", None)["boxes"].isfinite()


def test_every_other_caption_is_synthetic() -> None:
    row = Row(None, 0, "k", {"captions": ("a",), "synthetic": ("b",)})
    drawn = [either_caption(row, RUN.generator(str(i))) for i in range(200)]
    assert 70 < drawn.count("b") < 130
    assert either_caption(Row(None, 0, "k", {"captions": ("a",), "synthetic": ()}), RUN.generator("x")) == "a"


def test_what_is_missing_or_wrong() -> None:
    with pytest.raises(MissingEvidence, match="no train split"):
        next(METHOD.stages(Kit({"main": small()}), None, Evidence(), RUN))
    with pytest.raises(DataError, match="with phrases as regions"):
        next(METHOD.stages(Kit({"main": small()}), None, Evidence(train=squares()), RUN))
    refused(GRAIN, {"regions": 0}, {"depth": 0}, {"boxes": -1.0}, {"descriptions": -1.0}, {"dropout": 1.0})
