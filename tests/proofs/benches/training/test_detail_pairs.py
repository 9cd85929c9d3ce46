"""The bench of DIVA's proof, with few scenes and few steps: the bench, not the claims."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.backbones.diffusion.load import load_small
from diptych.backbones.sources.load import load
from diptych.core import Clock, NotAvailable, Run
from diptych.data.scenes.compose import scene
from diptych.methods.pretrain.diva import DIVA, FeedbackTrainee
from proofs.benches.training import detail_pairs
from proofs.benches.training.detail_pairs import (
    DIVA_TRIAL,
    EVEN,
    FEEDBACK,
    PATTERNS,
    UNTOLD,
    ShuffledTrainee,
    ignorant,
    open_details,
    pair_hits,
    pairs_of,
)
from tests.support.diffusion import random_diffusion
from tests.support.proofs import judged
from tests.train.test_pair import RUN, rows, small


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pair_differs_in_one_detail_alone(pattern) -> None:
    pairs = pairs_of(pattern, 5, 6)
    for i in range(6):
        before = scene(EVEN, 5, i)
        assert np.array_equal(before.image, np.asarray(pairs.pictures[i]))
        first, second = (set(pairs.captions[k].split()[1:]) for k in (i, i + 6))
        assert len(first ^ second) == (1 if pattern == "texture" else 2)
        known = {"colour": EVEN.bank.colours, "shape": EVEN.bank.shapes, "texture": ("striped",)}[pattern]
        assert first ^ second <= set(known)
        changed = np.any(np.asarray(pairs.pictures[i]) != np.asarray(pairs.pictures[i + 6]), axis=2)
        thing = before.objects[0]
        x0, y0, x1, y1 = (round(64 * c + sign * (32 * thing.side + 1)) for sign in (-1, 1) for c in thing.centre)
        assert changed.any()
        changed[max(0, y0) : y1, max(0, x0) : x1] = False
        assert not changed.any()


def test_pairs_are_counted_as_by_hand() -> None:
    tiny, pairs = load("tiny"), pairs_of("texture", 7, 5)
    found = pair_hits(tiny, pairs)["cls"]
    with torch.no_grad():
        x = normalize(tiny.image.encode(tiny.image.inputs(pairs.pictures)), dim=-1)
        t = normalize(tiny.text.encode(tiny.text.inputs(pairs.captions)), dim=-1)
    for i in range(5):
        a, b = i, i + 5
        assert found[i] == float(bool(t[a] @ x[a] > t[a] @ x[b] and t[b] @ x[b] > t[b] @ x[a]))


def test_controls_tell_tokens_of_another_picture_and_permute_weights() -> None:
    space, denoiser = small(), random_diffusion(small())
    own, other = (kind(DIVA(), space, RUN, denoiser, lambda n: True) for kind in (FeedbackTrainee, ShuffledTrainee))
    c = torch.randn(4, 5, 12)
    assert torch.equal(other.condition(c), own.condition(c)[[3, 0, 1, 2]])
    torch.manual_seed(0)
    batch = own.collate([own.views(row, RUN.generator(str(row.index))) for row in rows()])
    clock = Clock(0, 1, 0, torch.Generator())
    assert own.losses(batch, "main", clock)["noise"] != other.losses(batch, "main", clock)["noise"]
    small_one = load_small(load("tiny"))
    spoilt = ignorant(small_one, RUN)
    assert spoilt.fingerprint != small_one.fingerprint
    for name, w in small_one.weights.items():
        assert torch.equal(w.flatten().sort().values, spoilt.weights[name].flatten().sort().values)


def test_every_arm_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detail_pairs, "PAIRS", 6)
    few = partial(open_details, fit=replace(FEEDBACK, batch=4, steps=2), blind=replace(UNTOLD, batch=4, steps=2))
    tiny = load("tiny")
    judgement = judged(replace(DIVA_TRIAL, bench=few), "diva", "scenes", tiny, Run(workers=1), (1, 2))
    assert [c["name"] for c in judgement["claims"]] == ["texture, cls", "texture, cls and patches"]
    assert len(judgement["controls"]) == 4
    assert len(judgement["beside"]) == 6
    assert all(0 <= c["method"]["pair_accuracy"] <= 1 for c in judgement["claims"])
    with pytest.raises(NotAvailable):
        open_details("photos", tiny, Run(workers=1), (1,))
