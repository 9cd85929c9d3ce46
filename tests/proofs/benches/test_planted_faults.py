from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from diptych.core import Run
from diptych.data.words.near_texts import words_of
from diptych.evaluation.arms import CHANCE, Arm
from diptych.features.pair_vectors import PairVectors, Vectors
from proofs.benches import planted_faults
from proofs.benches.planted_faults import (
    AT_RANDOM,
    COPIES,
    HASHES,
    HASHES_IN_CELLS,
    IDENTICAL,
    IN_CELLS,
    LAPLACIAN,
    LIKE_LENGTH,
    LUCK,
    MIRRORED,
    OTHER_HASHES,
    OTHER_VECTORS,
    PER_CELL,
    PERMUTED,
    SHORTEST,
    SHUFFLED,
    WORDS,
    Pair,
    copied,
    degraded,
    exchanged,
    faulty,
    in_random_order,
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
    names = (HASHES, HASHES_IN_CELLS, MIRRORED, IN_CELLS, IDENTICAL, AT_RANDOM, "semdedup")
    value = {name: bench.measure(Arm(name)).values.mean() for name in names}
    assert value[IDENTICAL] == 0.5
    assert value[HASHES] > 0.7
    assert value[AT_RANDOM] < value[HASHES]
    assert value[HASHES_IN_CELLS] <= value[HASHES]
    assert bench.facts["cells"] == 1
    assert 2 * planted_faults.COPIED < PER_CELL


def test_a_control_breaks_one_half_of_the_rule_and_is_no_draw_of_verdicts() -> None:
    bench = open_copies("x", ColourBackbone(), Run(), (1, 2))
    value = {n: bench.measure(Arm("semdedup", spoil=n)).values for n in (OTHER_VECTORS, OTHER_HASHES)}
    assert all(v.shape == (2, 24) for v in value.values())
    assert value[OTHER_HASHES].mean() < bench.measure(Arm(HASHES)).values.mean()
    assert not np.array_equal(value[OTHER_VECTORS], bench.measure(Arm("semdedup")).values)


@pytest.mark.parametrize("part", [OTHER_VECTORS, OTHER_HASHES])
def test_what_is_exchanged_is_of_other_pictures_and_the_rest_of_its_own(part: str) -> None:
    values = np.eye(8, dtype=np.float16)[:, None].repeat(2, axis=1)
    hashes = np.arange(16, dtype=np.uint64).reshape(8, 2)
    own = Vectors(np.arange(8, dtype=np.uint64), values, hashes)
    made = exchanged(PairVectors("b", True, 8, own.rows(), 8), part, Run(seed=1)).rows.whole()
    assert np.array_equal(made["id"], own.ids)
    assert np.array_equal(made["vector"], values.reshape(8, -1)) == (part == OTHER_HASHES)
    assert np.array_equal(made["hash"], hashes) == (part == OTHER_VECTORS)
    assert np.array_equal(np.sort(made["hash"], axis=0), hashes)


def test_without_any_mechanism_but_more_drops_the_control_could_gain() -> None:
    """Vectors of other pictures drop further pairs: of a pool whose groups of copies hashes miss, that is a gain."""
    same = np.full((4, 2, 2), np.sqrt(0.5), dtype=np.float16)
    apart = np.array([[0, 0], [2**64 - 1] * 2, [2**32 - 1] * 2, [(2**32 - 1) << 32] * 2], dtype=np.uint64)
    plan = PairVectors("b", True, 2, Vectors(np.arange(4, dtype=np.uint64), same, apart).rows(), 4)
    broken = exchanged(plan, OTHER_VECTORS, Run())
    near = {rule: broken.nearest(1, "hard", rule, 10, 0).whole()["score"] for rule in ("hash", "either")}
    assert {rule: int((score < 0.95).sum()) for rule, score in near.items()} == {"hash": 4, "either": 1}


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
    names = ("caption-checks", IDENTICAL, SHORTEST, LIKE_LENGTH, LUCK)
    value = {n: bench.measure(Arm(n)).values.mean() for n in names}
    assert value["caption-checks"] > max(value[n] for n in names[1:])
    assert value[LUCK] > value[IDENTICAL], "to drop as many at random is a gain, so it is what is compared with"
    assert bench.measure(Arm("caption-checks", spoil=SHUFFLED)).values.mean() < value["caption-checks"]


def test_words_in_random_order_keep_names_lengths_and_vocabulary() -> None:
    said = "a dog sits beside the red chair . a dog runs ."
    (made,) = in_random_order([Pair("a_dog.jpg", said=said)], Run(seed=2))
    assert made.name == "a_dog.jpg"
    assert sorted(made.said.split()) == sorted(words_of(said))
    assert made.said.split() != words_of(said)


def test_what_is_blind_to_order_would_gain_in_the_control() -> None:
    """A curator that compares sets of words finds the same copies in random order: the control can come out."""
    pairs, groups, _ = faulty(CAPTIONS, Run(seed=3))

    def of_sets(some: list[Pair]) -> int:
        return len({frozenset(words_of(p.said)) for p in some})

    assert of_sets(in_random_order(pairs, Run(seed=3))) == of_sets(pairs) < len(pairs)
    assert len(np.unique(groups)) < len(pairs)
