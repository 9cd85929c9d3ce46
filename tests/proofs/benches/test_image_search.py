"""The bench of retrieval tuning, on coloured squares and a small random CLIP: the bench, not the claims."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diptych.backbones.sources.load import load
from diptych.core import NotAvailable, Run
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.tune import BEFORE, Training
from diptych.methods.finetune.retrieval_tuning import RetrievalTuning
from diptych.train.schedule import Schedule
from proofs.benches import image_search
from proofs.benches.image_search import BY_TEXT, MAP, SearchBench, open_search, permuted_labels
from proofs.benches.training.pairs import FRESH, shuffled_captions
from proofs.finetune import TRIALS
from tests.support.proofs import judged
from tests.support.small_clip import small_clip
from tests.train.test_pair import COLOURS, squares

TWO_STAGES = Training(RetrievalTuning(**RetrievalTuning.card.variants["2sft"]))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchBench:
    """Return a bench of 60 squares that have both labels and captions, and 4 that are searched beside them."""
    small_clip(tmp_path / "clip")
    items, names, lines = squares(60).items, list(COLOURS), ["path,split,caption_0,caption_1"]
    for i in range(60):
        split, name = ("train" if i < 40 else "val"), names[i % 5]
        file = tmp_path / "data" / split / name / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        items[i].save(file)
        lines.append(f"{split}/{name}/{i}.png,{split},a {name} square {i},{name} number {i}")
    (tmp_path / "data" / "captions.csv").write_text("\n".join(lines))
    more, rows = tmp_path / "more", ["path,caption_0,caption_1"]
    more.mkdir()
    for i, name in enumerate(names[:4]):
        items[i].rotate(180).save(more / f"{i}.png")
        rows.append(f"{i}.png,another {name} square {i},{name} again")
    (more / "captions.csv").write_text("\n".join(rows))
    monkeypatch.setattr(image_search, "CAPTIONED", str(tmp_path / "data"))
    monkeypatch.setattr(image_search, "MORE", ())
    monkeypatch.setattr(image_search, "SEARCHED", (str(tmp_path / "more"),))
    monkeypatch.setattr(image_search, "FRESH", replace(FRESH, batch=20, steps=20, lr=1e-2))
    monkeypatch.setattr(image_search, "FIT", replace(image_search.FIT, batch=12, steps=4, lr=1e-2, schedule=Schedule()))
    return open_search(str(tmp_path / "data"), load(f"local:{tmp_path / 'clip'}"), Run(workers=1), (1, 2))


def test_classes_are_trained_or_searched_and_never_both(bench: SearchBench) -> None:
    (only,) = bench.sets
    (name, unseen, classes) = bench.unseen[0]
    assert name == only.name
    assert set(bench.train.labels()) == {0, 2, 4}
    assert set(unseen.labels()) == {1, 3}
    assert len(classes) == 5
    trained = {bench.train.items.key(i) for i in range(len(bench.train))}
    assert not trained & {unseen.items.key(i) for i in range(len(unseen))}
    assert (bench.facts["train"], bench.facts["items"], bench.facts["searched"]) == (36, 24, 24)


def test_pseudo_captions_are_those_of_the_captioned_photos(bench: SearchBench) -> None:
    known = {t for own in bench.pairs.columns["captions"].values for t in own}
    written = bench.train.columns["captions"].values
    assert all(len(set(own)) == 3 and set(own) <= known for own in written)


def test_before_is_aligned_and_each_arm_starts_from_it(bench: SearchBench) -> None:
    before, tuned = bench.measure(BEFORE), bench.measure(Arm(TWO_STAGES))
    assert before.part(MAP).values.shape == (2, 24)
    assert before.part(BY_TEXT).values.shape == (2, 24), "one value per photo, whose two captions are not independent"
    assert before.others["image_drift"] == pytest.approx(0.0, abs=1e-6)
    assert tuned.others["image_drift"] > 1e-4
    assert tuned.others["text_drift"] > 1e-4
    classes = bench.measure(Arm(Training(RetrievalTuning(weight=0.0))))
    assert classes.others["text_drift"] == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_array_equal(classes.part(MAP).values, tuned.part(MAP).values)  # the second stage trains texts
    spoilt = bench.measure(Arm(TWO_STAGES, spoil=shuffled_captions))
    assert spoilt.others["text_drift"] != tuned.others["text_drift"]
    np.testing.assert_array_equal(spoilt.part(MAP).values, tuned.part(MAP).values)


def test_permuted_labels_leave_the_captions(bench: SearchBench) -> None:
    spoilt = permuted_labels(bench.train, Run(seed=1))
    assert sorted(spoilt.labels()) == sorted(bench.train.labels())
    assert (spoilt.labels() != bench.train.labels()).any()
    assert spoilt.columns["captions"] is bench.train.columns["captions"]


def test_the_trial_names_absent_data() -> None:
    with pytest.raises(NotAvailable, match=r"(are|is) not here"):
        judged(TRIALS["retrieval-tuning"], "x", "no such data", None, Run(), (1, 2, 3))  # type: ignore[arg-type]
