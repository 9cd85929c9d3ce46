"""CLOC: its loss against a loop, its limits, what it learns, and the prompter that stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from diptych.backbones.sources.save import load_parts, save
from diptych.core import Evidence, Kit, MissingEvidence, MissingPart, Row, Run, Table
from diptych.features.whole_and_cells import whole_and_cells
from diptych.methods.pretrain.cloc import CLOC, PART
from diptych.nn.contrastive import contrastive
from diptych.nn.dense.prompter import Prompter
from diptych.nn.dense.region_losses import region_contrast
from diptych.train.distributed import gather_ragged
from diptych.train.recipe import train_space
from tests.features.test_region_labels import Halves
from tests.support.refused import refused
from tests.support.small_clip import small_clip
from tests.train.test_pair import FIT, RUN, small, squares
from tests.train.test_regions import with_regions

METHOD, TOGETHER = CLOC(), gather_ragged(Run().world)


def trainee(method: CLOC = METHOD, table: Table | None = None):
    (stage,) = method.stages(Kit({"main": small()}), None, Evidence(train=table or with_regions()), RUN)
    return stage.trainee


def batch(t, table: Table, rows=range(6)):
    cells = [Row(table.items[i], i, str(i), {n: c.values[i] for n, c in table.columns.items()}) for i in rows]
    return t.collate([t.views(row, RUN.generator(str(row.index))) for row in cells])


def test_terms_of_a_batch() -> None:
    table, method = with_regions(), CLOC(weight=0.5, grounding=2.0)
    t = trainee(method, table)
    b = batch(t, table)
    losses = t.losses(b, "main", None)
    _, cells = whole_and_cells(t.space, b["image"])
    said = t.space.text.encode(b["phrases"])
    z = t.prompter.boxes(cells, b["boxes"], b["owner"])
    weight = 0.5 * 6 / 5  # the first of the six images has no regions
    contrast = region_contrast(z, said, t.space.scale()[0], 0.9, TOGETHER)
    torch.testing.assert_close(losses["regions"], weight * contrast)
    shown = t.prompter.grounded(cells, normalize(said, dim=-1), b["owner"])
    torch.testing.assert_close(losses["boxes"], weight * 2.0 * ((shown - b["boxes"]) ** 2).sum() / (4 * 10))
    torch.testing.assert_close(losses["contrastive"], contrastive(t.embed(b), ("image", "text")))


def test_without_regions_the_losses_are_those_of_clip_and_one_region_has_no_negative() -> None:
    table = with_regions()
    t = trainee(table=table)
    none = t.losses(batch(t, table, [0, 0]), "main", None)
    assert [none[name].item() for name in ("regions", "boxes")] == [0, 0]
    sum(none.values()).backward()
    one = with_regions(each=1)
    assert t.losses(batch(t, one, [0, 1]), "main", None)["regions"].item() == pytest.approx(0, abs=1e-6)
    plain = trainee(CLOC(weight=0.0), table)
    assert sum(plain.losses(batch(plain, table), "main", None).values()).item() == pytest.approx(
        contrastive(plain.embed(batch(plain, table)), ("image", "text")).item(), rel=1e-5
    )


def test_it_tells_places_apart_and_the_prompter_is_saved_with_the_model(tmp_path: Path) -> None:
    table, space = with_regions(20), small_clip(tmp_path / "clip")
    trained = train_space(
        CLOC(same=1.0), Kit({"main": space}), Evidence(train=table), replace(FIT, steps=60, lr=3e-3), RUN
    )
    save(trained.space, tmp_path / "model", trained.parts)
    prompter = Prompter.of(load_parts(tmp_path / "model")[PART])
    with torch.no_grad():
        pictures = [table.items[i] for i in range(5, 10)]
        _, cells = whole_and_cells(trained.space, trained.space.image.inputs(pictures))
        halves = torch.tensor([[0, 0, 0.5, 1], [0.5, 0, 1, 1]]).repeat(5, 1)
        z = normalize(prompter.boxes(cells, halves, torch.arange(5).repeat_interleave(2)), dim=-1)
        texts = [f"{side} of {i}" for i in range(5) for side in ("left", "right")]
        y = normalize(trained.space.text.encode(trained.space.text.inputs(texts)), dim=-1)
    assert (z @ y.T).argmax(1).eq(torch.arange(10)).float().mean() > 0.8


def test_regions_are_labelled_where_there_are_none() -> None:
    kit = Kit({"main": small(), "proposer": Halves()})
    (stage,) = CLOC().stages(kit, None, Evidence(train=squares(6), val=squares(3)), RUN)
    assert set(stage.data.columns) == {"captions", "boxes", "phrases"}
    assert len(stage.val) == 3
    with pytest.raises(MissingPart, match="such as merged-cells"):
        next(CLOC().stages(Kit({"main": small()}), None, Evidence(train=squares(6)), RUN))
    with pytest.raises(MissingEvidence, match="no train split"):
        next(CLOC().stages(Kit({"main": small()}), None, Evidence(), RUN))


def test_what_is_refused() -> None:
    refused(CLOC, {"weight": -1.0}, {"regions": 0}, {"same": 1.5}, {"grounding": -0.1}, {"pool": "mean"})
