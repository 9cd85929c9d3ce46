from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.core import DataError, Evidence, Kit, MissingHook, Run, Table
from diptych.features.embed import embed
from diptych.features.records import pooled
from diptych.methods.retrieve.clippings import CLIPPINGS
from diptych.nn.contrastive import supervised_contrastive
from diptych.train.entities import SomeOfEach, nearest_entities
from tests.support.backbone import SmallBackbone
from tests.support.record_work import records, table
from tests.support.refused import refused
from tests.support.small_clip import small_clip

KIT = Kit({"main": SmallBackbone()})


def test_the_loss_is_what_a_loop_says_and_has_its_limits() -> None:
    z = normalize(torch.randn(7, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    labels = torch.tensor([0, 1, 0, 2, 1, 0, 3])  # 2 and 3 are alone
    each = []
    for i in range(7):
        positives = [p for p in range(7) if p != i and labels[p] == labels[i]]
        if positives:
            below = sum(float(torch.exp(z[i] @ z[k] / 0.1)) for k in range(7) if k != i)
            each.append(-np.mean([np.log(float(torch.exp(z[i] @ z[p] / 0.1)) / below) for p in positives]))
    assert float(supervised_contrastive(z, labels, 0.1, z, labels)) == pytest.approx(np.mean(each), rel=1e-5)
    # seven processes with a row each, of which two have no positive
    parts = [supervised_contrastive(z[a : a + 1], labels[a : a + 1], 0.1, z, labels, a) for a in range(7)]
    assert float(torch.stack(parts).mean()) == pytest.approx(np.mean(each), rel=1e-5)
    alone = torch.arange(7)
    assert float(supervised_contrastive(z, alone, 0.1, z, alone)) == 0.0
    same = normalize(torch.ones(4, 3), dim=-1)
    one = torch.zeros(4, dtype=torch.int64)
    assert float(supervised_contrastive(same, one, 0.1, same, one)) == pytest.approx(np.log(3), rel=1e-5)


def test_the_pool_is_the_weighted_mean_and_a_lone_modality_stays_itself() -> None:
    x, t = torch.tensor([[2.0, 0.0], [0.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 5.0], [0.0, 2.0], [0.0, 0.0]])
    z = pooled(x, t, 0.25)
    torch.testing.assert_close(
        z, torch.tensor([[0.25, 0.75], [0.0, 1.0], [1.0, 0.0]]) / torch.tensor([[0.625**0.5], [1.0], [1.0]])
    )
    torch.testing.assert_close(pooled(x, t, 1.0), torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))


def test_batches_hold_some_of_each_and_leave_singletons_out() -> None:
    entities = np.array([0] * 5 + [1] * 2 + [2] + [3] * 4)
    batches = SomeOfEach(entities, 3, 0).batches(0, 6)
    assert [len(b) for b in batches] == [6]
    for b in batches:
        assert sorted(np.unique(entities[b], return_counts=True)[1].tolist()) == [3, 3]
        assert 2 not in entities[b]
    assert SomeOfEach(entities, 3, 0).batches(0, 6) == batches
    assert SomeOfEach(entities, 3, 0).batches(1, 6) != batches


def test_hard_negatives_stand_in_one_batch_and_every_entity_is_drawn_once() -> None:
    rng = np.random.default_rng(0)
    entities = np.repeat([2, 3, 5, 7, 11, 13, 17], 3)[rng.permutation(21)]
    centres = {2: 0.0, 3: 3.0, 5: 0.1, 7: 3.1, 11: 0.2, 13: 3.2, 17: 1.5}
    angles = np.array([centres[e] for e in entities.tolist()]) + 0.01 * rng.normal(size=21)
    near = nearest_entities(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), entities, 2)
    assert [set(row) for row in near[:6].tolist()] == [{2, 4}, {3, 5}, {0, 4}, {1, 5}, {0, 2}, {1, 3}]
    for epoch in range(4):
        batches = SomeOfEach(entities, 2, 0, near).batches(epoch, 6)
        drawn = [set(entities[batch].tolist()) for batch in batches]
        assert sum(map(len, drawn)) == len(set.union(*drawn)) == 6, "of seven entities two batches of three"
        assert sum(group in ({2, 5, 11}, {3, 7, 13}) for group in drawn) >= 1
    assert nearest_entities(np.eye(2, dtype=np.float32), np.arange(2), 5).tolist() == [[1], [0]]


def test_hard_negatives_are_those_before_training_for_maps_and_towers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, entities = records(6, 3)
    seen: list[np.ndarray | None] = []
    batches = SomeOfEach.batches
    monkeypatch.setattr(SomeOfEach, "batches", lambda self, *asked: seen.append(self.near) or batches(self, *asked))
    evidence = Evidence(train=table(found, entities))
    plain = CLIPPINGS().fit(KIT, Evidence(), Run())
    expected = nearest_entities(plain.encode(found, Run()).numpy(), entities, 2)
    CLIPPINGS(learns="maps", hard=2, epochs=1).fit(KIT, evidence, Run())
    assert (seen[0] == expected).all()
    CLIPPINGS(learns="maps", epochs=1).fit(KIT, evidence, Run())
    assert seen[-1] is None
    kit = Kit({"main": small_clip(tmp_path / "clip")})
    CLIPPINGS(hard=2, epochs=1, batch=9).fit(kit, evidence, Run())
    assert seen[-1] is not None
    assert seen[-1].shape == (6, 2)


def test_without_labels_it_is_the_mean_of_the_backbones_embeddings() -> None:
    found, _ = records()
    backbone = SmallBackbone()
    x = normalize(embed(backbone.image, found.images, Run()), dim=-1)
    t = normalize(torch.stack([backbone.text.encode(backbone.text.inputs([w]))[0] for w in found.texts if w]), dim=-1)
    fitted = CLIPPINGS().fit(KIT, Evidence(), Run())
    torch.testing.assert_close(fitted.encode(found, Run()), normalize(x / 2 + t / 2, dim=-1), rtol=1e-5, atol=1e-5)
    assert fitted.threshold is None
    torch.testing.assert_close(fitted.encode(found.only("image"), Run()), x, rtol=1e-5, atol=1e-5)


def nearest_is_right(scores: torch.Tensor, entities: np.ndarray) -> float:
    own = scores.clone().fill_diagonal_(-9.0).argmax(1).numpy()
    return float((entities[own] == entities).mean())


def test_maps_learn_matches_that_shuffled_ones_do_not_teach_and_val_chooses_the_threshold() -> None:
    found, entities = records(12, 4, noise=120.0)
    learn, ask = entities < 8, entities >= 8
    train = table(found.take(np.flatnonzero(learn)), entities[learn])
    val = table(found.take(np.flatnonzero(ask)), entities[ask])
    method = CLIPPINGS(learns="maps", rank=8, epochs=40, rate=0.01)
    fitted = method.fit(KIT, Evidence(train=train, val=val), Run())
    assert fitted.threshold is not None
    assert -1 <= fitted.threshold <= 1
    own = found.take(np.flatnonzero(learn))
    trained = nearest_is_right(fitted.against(own, Run())(own), entities[learn])
    shuffled = Table(own, table(own, np.random.default_rng(1).permutation(entities[learn])).columns)
    spoiled = method.fit(KIT, Evidence(train=shuffled), Run())
    assert trained > nearest_is_right(spoiled.against(own, Run())(own), entities[learn])
    one, two = (method.fit(KIT, Evidence(train=train), Run(seed=3)).maps for _ in range(2))
    assert all(torch.equal(one[n], two[n]) for n in one)


def test_towers_are_trained_in_a_copy(tmp_path: Path) -> None:
    backbone = small_clip(tmp_path / "clip")
    before = {k: v.clone() for k, v in backbone.module().state_dict().items()}
    found, entities = records(3, 2)
    mixed = replace(found, places=(None, *found.places[1:]), texts=(*found.texts[:-1], None))
    method, evidence = CLIPPINGS(epochs=1, batch=6, each=2, rate=1e-3), Evidence(train=table(mixed, entities))
    with torch.no_grad():  # a caller's, which does not stop the training
        fitted = method.fit(Kit({"main": backbone}), evidence, Run())
    assert all(torch.equal(v, before[k]) for k, v in backbone.module().state_dict().items())
    assert fitted.space.fingerprint != backbone.fingerprint
    assert fitted.encode(mixed, Run()).shape == (6, backbone.image.dim)


def test_bad_input_is_named() -> None:
    found, entities = records(2, 2)
    with pytest.raises(DataError, match="'entity'"):
        CLIPPINGS(learns="maps").fit(KIT, Evidence(train=Table(found)), Run())
    with pytest.raises(DataError, match="two entities"):
        CLIPPINGS(learns="maps").fit(KIT, Evidence(train=table(found, np.arange(4))), Run())
    with pytest.raises(DataError, match="neither"):
        CLIPPINGS().fit(KIT, Evidence(), Run()).encode(replace(found.only("text"), texts=(None,) * 4), Run())
    with pytest.raises(MissingHook):
        CLIPPINGS(batch=4, each=2).fit(KIT, Evidence(train=table(found, entities)), Run())
    refused(
        CLIPPINGS,
        {"weight": 2.0},
        {"temperature": 0.0},
        {"each": 1},
        {"hard": -1},
        {"learns": "all"},
        {"batch": 3},
        {"rate": 0.0},
    )
