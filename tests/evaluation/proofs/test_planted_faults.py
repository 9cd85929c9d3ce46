from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from diptych.core.run import Run
from diptych.evaluation.arms import CHANCE, Arm
from diptych.evaluation.proofs import planted_faults
from diptych.evaluation.proofs.planted_faults import (
    AT_RANDOM,
    COPIES,
    HASHES,
    IDENTICAL,
    LAPLACIAN,
    PERMUTED,
    SHORTEST,
    VECTORS,
    WORDS,
    copied,
    degraded,
    faulty,
    open_captions,
    open_copies,
    open_degraded,
)
from tests.support.colours import ColourBackbone

RNG = np.random.default_rng(0)
SMOOTH = [
    Image.fromarray(RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
    for _ in range(24)
]
CAPTIONS = [
    f"a {a} {b} stands beside the {c} tree ." for a in ("red", "big") for b in ("dog", "cat") for c in range(12)
]


@pytest.fixture(autouse=True)
def _photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted_faults, "_photos", lambda name, most: (SMOOTH, {"items": len(SMOOTH)}))
    monkeypatch.setattr(planted_faults, "LABELLED", 12)


def test_half_of_the_photos_have_two_changed_copies() -> None:
    pairs, groups = copied(SMOOTH, Run(seed=1))
    assert len(pairs) == 48
    assert sorted(np.bincount(groups).tolist()) == [1] * 12 + [3] * 12
    assert len({pair.name for pair in pairs}) == 48
    assert all(copy(SMOOTH[0]).tobytes() != SMOOTH[0].tobytes() for copy in COPIES)


def test_hashes_find_copies_that_identity_does_not() -> None:
    bench = open_copies("x", ColourBackbone(), Run(), (1, 2))
    value = {
        name: bench.measure(Arm(name)).values.mean() for name in ("semdedup", HASHES, VECTORS, IDENTICAL, AT_RANDOM)
    }
    assert value[IDENTICAL] == 0.5
    assert value[HASHES] > 0.7
    assert value[AT_RANDOM] < value[HASHES]
    assert bench.measure(Arm("semdedup", spoil=PERMUTED)).values.shape == (2, 24)


def test_degraded_photos_differ_and_the_arms_judge_what_is_not_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    assert all(degraded(SMOOTH[0], rng).tobytes() != SMOOTH[0].tobytes() for _ in range(12))
    monkeypatch.setattr("diptych.nn.vector_head.LEAST", 1)
    monkeypatch.setattr("diptych.nn.vector_head.FOLDS", 2)
    bench = open_degraded("x", ColourBackbone(), Run(), (1, 2))
    for arm in (Arm("vector-head"), Arm("vector-head", spoil=PERMUTED), Arm(WORDS), Arm(LAPLACIAN), Arm(CHANCE)):
        values = bench.measure(arm).values
        assert values.shape == (2, 12)
        assert set(np.unique(values)) <= {0.0, 0.5, 1.0}


def test_faults_stand_in_half_of_the_captions() -> None:
    pairs, groups, bad = faulty(CAPTIONS, Run(seed=3))
    changed = (groups != np.arange(48)) | bad
    assert changed.sum() == 24
    assert bad.sum() == 14
    assert all(pair.said == text for pair, text, c in zip(pairs, CAPTIONS, changed, strict=True) if not c)


def test_captions_that_repeat_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Opened:
        items = planted_faults.InMemory(SMOOTH)
        columns = {"captions": type("C", (), {"values": [(text,) for text in CAPTIONS]})}  # noqa: RUF012

        def whole(self) -> Opened:
            return self

    monkeypatch.setattr(planted_faults, "present", lambda name: name)
    monkeypatch.setattr(planted_faults, "open_data", lambda *a, **k: Opened())
    bench = open_captions("x", ColourBackbone(), Run(), (1, 2))
    value = {n: bench.measure(Arm(n)).values.mean() for n in ("caption-checks", IDENTICAL, SHORTEST, AT_RANDOM)}
    assert value["caption-checks"] > value[IDENTICAL]
    assert bench.measure(Arm("caption-checks", spoil=PERMUTED)).values.mean() < value["caption-checks"]
