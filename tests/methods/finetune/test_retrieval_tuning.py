"""Both ways of retrieval tuning, on coloured squares and a small random CLIP."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import save
from diptych.core import Clock, Column, DataError, Evidence, Kit, MissingEvidence, Row, Run, Table, UsageError
from diptych.features.frozen import Headed, on_trunks, side_names
from diptych.methods.finetune.retrieval_tuning import RetrievalTuning
from diptych.train.recipe import train_space
from proofs.benches.training.fresh import fresh_heads
from tests.support.refused import refused
from tests.support.small_clip import small_clip
from tests.support.tuning_work import CLASSES, SHORT, labelled, run, state
from tests.train.test_pair import FIT, RUN, small, squares

TWO_STAGES = RetrievalTuning(**RetrievalTuning.card.variants["2sft"])
BY_CLASSES = RetrievalTuning(**RetrievalTuning.card.variants["classes"])


def both() -> Table:
    """Return squares with labels and captions."""
    return Table(squares(40).items, {**squares(40).columns, "label": Column("label", np.arange(40) % 5)})


def moved(method: RetrievalTuning, table: Table, **settings) -> set[str]:
    before = state(small())
    after = state(run(method, table=table, fit=SHORT, **settings).space)
    return {n for n in before if not torch.equal(before[n], after[n])}


def test_each_way_trains_its_side_alone() -> None:
    image, text = (set(side_names(small(), side)) for side in ("image", "text"))
    assert not image & text
    assert moved(RetrievalTuning(), both()) == image
    assert moved(BY_CLASSES, labelled()) == image
    assert moved(TWO_STAGES, both()) == image | text
    chosen = moved(BY_CLASSES, labelled(), learns=lambda n: "proj" in n)
    assert chosen
    assert chosen < image


def test_photos_of_a_class_come_together() -> None:
    table = labelled()
    same = table.labels()[:, None] == table.labels()[None]

    def apart(space) -> float:
        """Return how far cosines within a class lie above those between classes."""
        with torch.no_grad():
            x = normalize(space.image.encode(space.image.inputs([table.items[i] for i in range(40)])), dim=-1)
        cosines = (x @ x.T).numpy()
        return float(cosines[same].mean() - cosines[~same].mean())

    assert apart(run(BY_CLASSES, table=table).space) > apart(small()) + 0.3


def test_the_second_stage_brings_the_texts_back() -> None:
    table, held = both(), squares(100).items
    start = run(replace(TWO_STAGES, weight=0.0), table=table, fit=replace(FIT, steps=60)).space
    alone = run(BY_CLASSES, table=table, fit=replace(FIT, steps=60)).space

    def named(space) -> float:
        with torch.no_grad():
            x = space.image.encode(space.image.inputs([held[i] for i in range(50, 100)]))
            t = space.text.encode(space.text.inputs([p for own in CLASSES.prompts() for p in own]))
        hits = (normalize(x, dim=-1) @ normalize(t, dim=-1).T).argmax(1).eq(torch.arange(50) % 5)
        return float(hits.float().mean())

    assert named(start) > named(alone) + 0.3


def test_the_second_stage_may_have_rows_of_its_own() -> None:
    pairs = squares(10)
    evidence = Evidence(train=labelled(), auxiliary=pairs)
    trained = train_space(TWO_STAGES, Kit({"main": small()}), evidence, SHORT, RUN)
    assert [r for r in trained.log if "main/contrastive" in r]
    other = Evidence(train=labelled(), auxiliary=Table(pairs.items, {"captions": Column("captions", ["x"] * 10)}))
    assert (
        train_space(TWO_STAGES, Kit({"main": small()}), other, SHORT, RUN).space.fingerprint
        != trained.space.fingerprint
    )


def test_equal_captions_of_a_batch_are_no_negatives() -> None:
    images, texts = list(TWO_STAGES.stages(Kit({"main": small()}), CLASSES, Evidence(train=labelled()), RUN))
    assert images.groups()[-1].lr == 100.0
    trainee = texts.trainee
    rows = [Row(labelled().items[i], i, str(i), {"captions": ("a red square",), "label": 0}) for i in range(3)]
    batch = trainee.collate([trainee.views(row, RUN.generator("x")) for row in rows])
    losses = trainee.losses(batch, "main", Clock(0, 1, 0, RUN.generator("x")))
    assert losses["contrastive"].item() == pytest.approx(0.0, abs=1e-6)


def test_heads_over_frozen_towers_learn_alike() -> None:
    headed = Headed(small())
    start = fresh_heads(headed, 8, Run(seed=1))
    table = on_trunks(headed, both(), Run(workers=0))
    trained = train_space(RetrievalTuning(realign=True), Kit({"main": start}), Evidence(train=table), SHORT, RUN)
    before, after = start.module().state_dict(), trained.space.module().state_dict()
    assert all((torch.equal(before[n], after[n])) == n.startswith("logit") for n in before)


def test_what_was_tuned_is_saved_and_opened(tmp_path) -> None:
    made = run(RetrievalTuning(), small_clip(tmp_path / "clip"), table=both(), fit=SHORT).space
    save(made, tmp_path / "model")
    again = load(f"local:{tmp_path / 'model'}")
    texts = ["a red square", "a cat"]
    with torch.no_grad():
        torch.testing.assert_close(
            again.text.encode(again.text.inputs(texts)), made.text.encode(made.text.inputs(texts))
        )


def test_what_is_missing_or_wrong_is_named() -> None:
    with pytest.raises(DataError, match="no label column"):
        run(RetrievalTuning(), table=squares(), fit=SHORT)
    with pytest.raises(DataError, match="All training rows are of class 3"):
        run(RetrievalTuning(), table=labelled().take([3, 8]), fit=SHORT)
    with pytest.raises(MissingEvidence, match="neither captions nor class names"):
        run(RetrievalTuning(), classes=None, fit=SHORT)
    with pytest.raises(UsageError, match="trains the image tower"):
        run(RetrievalTuning(), learns=lambda n: False, fit=SHORT)
    with pytest.raises(UsageError, match="trains the text tower"):
        run(TWO_STAGES, learns=lambda n: n.startswith("visual"), fit=SHORT)
    trainee = next(BY_CLASSES.stages(Kit({"main": small()}), CLASSES, Evidence(train=labelled().take([0, 1])), RUN))
    with pytest.raises(DataError, match="Row 7 is of class 2"):
        trainee.views(Row(labelled().items[7], 7, "k", {"label": 2}), RUN.generator("x"))
    refused(RetrievalTuning, {"weight": -1.0}, {"captions": 0}, {"scale": 0.0}, {"margin": 2.0}, {"class_lr": 0.0})
