"""Classifying photos: right classes, both kinds of probability, broken files named."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.backbones import lite_sharpness
from diptych.core import ClassNames, DataError, Evidence, Kit, Run, UnreadableItem, UsageError
from diptych.data.folders import ImageFiles
from diptych.data.labelled import LabelledData
from diptych.data.words.pools import Pool
from diptych.evaluation.measure import evaluate
from diptych.methods.classify.description import Description
from diptych.methods.classify.transclip import TransCLIP
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.tasks.classify import classify, with_store
from diptych.tasks.model import Predictor
from diptych.tasks.pages import photo_page
from diptych.tasks.record import About
from tests.support.colours import COLOURS, ColourBackbone, coloured
from tests.support.image_files import truncated


@pytest.fixture
def photos(tmp_path: Path) -> ImageFiles:
    return ImageFiles([coloured(tmp_path / f"{name}.png", name, 0, noise=0) for name in COLOURS])


def test_colours_are_found_and_softmax_sums_to_one(photos: ImageFiles) -> None:
    results = classify(photos, tuple(COLOURS), ColourBackbone())
    assert [p.top[0][0] for p in results.predictions] == list(COLOURS)
    for p in results.predictions:
        values = [value for _, value in p.top]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1.0, abs=1e-6)
    assert (results.score, results.failed, results.encoded) == ("softmax", (), 5)


def test_a_system_that_sees_photos_without_labels_sees_those_that_are_classified(tmp_path: Path) -> None:
    good = [coloured(tmp_path / f"{name}{n}.png", name, n) for name in COLOURS for n in range(3)]
    photos = ImageFiles([*good, truncated(tmp_path / "broken.png")])
    together = classify(photos, tuple(COLOURS), ColourBackbone(), method=TransCLIP(), templates=("{}",))
    classes, evidence = ClassNames(tuple(COLOURS), ("{}",)), Evidence[Any](unlabelled=ImageFiles(good))
    fitted = TransCLIP().fit(Kit({"main": ColourBackbone()}), classes, evidence, Run())
    expected = fitted.scores(ImageFiles(good), Run()).values.argmax(dim=1).tolist()
    assert [p.top[0][0] for p in together.predictions] == [tuple(COLOURS)[k] for k in expected]
    assert [error.name for error in together.failed] == [str(tmp_path / "broken.png")]


def test_shown_probabilities_are_sharpened_and_what_is_measured_is_not(
    photos: ImageFiles, data: LabelledData, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = ZeroShot().fit(Kit({"main": ColourBackbone()}), ClassNames(data.classes), Evidence(), Run())
    predictor = Predictor(fitted, None, ColourBackbone(), {})

    def answers() -> tuple[Any, ...]:
        results = classify(photos, tuple(COLOURS), ColourBackbone())
        record, _ = evaluate(fitted, data.splits["test"], Run(), backbone=ColourBackbone())
        return results, predictor.predict_proba(photos), record.metrics

    before, p, measured = answers()
    scale = float(ColourBackbone().scale()[0])
    monkeypatch.setattr(lite_sharpness, "FITTED", {"colour": (float(np.log(2 * scale)), 0.0, 0.0, 0.0)})
    after, sharp, same = answers()
    assert measured == same, "boards and proofs take the logits as they are"
    for a, b in zip(before.predictions, after.predictions, strict=True):
        assert [name for name, _ in a.top] == [name for name, _ in b.top]
        squares = np.array([v for _, v in a.top]) ** 2
        np.testing.assert_allclose([v for _, v in b.top], squares / squares.sum(), rtol=1e-4)
    np.testing.assert_allclose(sharp, p**2 / (p**2).sum(axis=1, keepdims=True), rtol=1e-4)


def test_reasons_are_those_of_the_system(photos: ImageFiles, pool: Pool) -> None:
    method, evidence = Description(), Evidence[Any](texts=pool.texts)
    results = classify(photos, tuple(COLOURS), ColourBackbone(), method=method, evidence=evidence, reasons=1)
    fitted = method.fit(Kit({"main": ColourBackbone()}), results.classes, evidence, Run())
    for p, own in zip(results.predictions, fitted.explain(photos, Run()), strict=True):
        assert p.reasons == ((own[0].text, own[0].weight),)
        assert p.as_dict()["reasons"] == [{"text": own[0].text, "weight": round(own[0].weight, 6)}]
    page = photo_page.html(results, photos)
    assert page.count("<img ") == len(COLOURS)
    assert all(p.reasons is not None and f"{p.reasons[0][1]:+.3g}" in page for p in results.predictions)
    assert "http" not in page.replace("http-equiv", "")
    plain = classify(photos, tuple(COLOURS), ColourBackbone())
    assert "reasons" not in plain.predictions[0].as_dict()
    with pytest.raises(UsageError, match=r"^zero-shot gives no reasons: use description"):
        classify(ImageFiles(["absent.png"]), tuple(COLOURS), ColourBackbone(), reasons=1)
    with pytest.raises(UsageError, match="reasons"):
        classify(photos, tuple(COLOURS), ColourBackbone(), reasons=-1)


def test_a_page_escapes_what_it_shows(tmp_path: Path) -> None:
    photo = coloured(tmp_path / "a&b.png", "red", 0, noise=0)
    results = classify(ImageFiles([photo, truncated(tmp_path / "half.jpg")]), ("<i>red</i>", "blue"), ColourBackbone())
    page = photo_page.html(results, ImageFiles([photo]))
    assert "<i>red</i>" not in page
    assert "a&amp;b.png" in page
    assert "half.jpg" in page


def test_sigmoid_backbones_give_each_class_its_own_probability(photos: ImageFiles) -> None:
    results = classify(photos, tuple(COLOURS), ColourBackbone("sigmoid"), threshold=0.6)
    assert results.score == "sigmoid"
    assert all(value >= 0.6 for p in results.predictions for _, value in p.top)
    assert classify(photos, tuple(COLOURS), ColourBackbone("sigmoid"), threshold=1.0).predictions[0].top == ()


def test_broken_photos_are_named_and_the_others_keep_their_answers(photos: ImageFiles, tmp_path: Path) -> None:
    mixed = ImageFiles([photos.name(0), truncated(tmp_path / "half.jpg"), tmp_path / "absent.png", photos.name(1)])
    results = classify(mixed, tuple(COLOURS), ColourBackbone(), top=1)
    assert [Path(p.name).stem for p in results.predictions] == ["red", "green"]
    assert [Path(e.name).name for e in results.failed] == ["half.jpg", "absent.png"]
    with pytest.raises(DataError, match="None of the 2 photos"):
        classify(ImageFiles([truncated(tmp_path / "half.jpg"), tmp_path / "absent.png"]), ("a",), ColourBackbone())


def test_what_cannot_mean_anything_is_refused(photos: ImageFiles) -> None:
    with pytest.raises(UsageError, match="top"):
        classify(photos, ("a",), ColourBackbone(), top=0)
    with pytest.raises(UsageError, match="threshold"):
        classify(photos, ("a",), ColourBackbone(), threshold=1.5)
    with pytest.raises(DataError, match="No photos"):
        classify(ImageFiles([]), ("a",), ColourBackbone())


def test_csv_and_dict_say_the_same(photos: ImageFiles) -> None:
    results = classify(photos, ClassNames(("red", "blue"), ("{}",)), ColourBackbone(), top=2)
    rows = list(csv.DictReader(io.StringIO(results.as_csv())))
    flat = [
        (p["path"], x["label"], x["probability"])
        for p in (q.as_dict() for q in results.predictions)
        for x in p["labels"]
    ]
    assert [(r["path"], r["label"], float(r["probability"])) for r in rows] == flat
    assert [r["rank"] for r in rows[:2]] == ["1", "2"]


def test_a_run_without_cache_gets_one_for_the_task_and_it_is_gone_after() -> None:
    with with_store(Run()) as run:
        folder = run.cache
        assert folder is not None
        assert folder.is_dir()
    assert not folder.exists()
    with with_store(Run(cache=Path("x"))) as run:
        assert run.cache == Path("x")


def test_evaluate_measures_and_says_where_and_how(data: LabelledData) -> None:
    classes, backbone, run = ClassNames(data.classes), ColourBackbone(), Run()
    fitted = ZeroShot().fit(Kit({"main": backbone}), classes, Evidence(), run)
    record, outcome = evaluate(
        fitted, data.splits["test"], run, backbone=backbone, about=About(dataset="colours", method="zero-shot")
    )
    assert record.items == len(outcome.labels) == 50
    assert record.metrics["acc1"] == np.mean(outcome.predicted == data.splits["test"].labels())
    low, high = record.ci95["acc1"]
    assert low < (record.metrics["acc1"] or 0) < high
    assert record.task == "zeroshot_classification"
    assert record.fingerprint == backbone.fingerprint
    assert {"predict"} <= record.seconds.keys()
    assert record.peak_memory_mib > 10
    with pytest.raises(DataError, match="no test items"):
        evaluate(fitted, data.splits["test"].take([]), run, backbone=backbone)


def test_unreadable_items_are_not_measured_in_silence(data: LabelledData, tmp_path: Path) -> None:
    from diptych.core import Column, Table

    classes, backbone, run = ClassNames(data.classes), ColourBackbone(), Run()
    fitted = ZeroShot().fit(Kit({"main": backbone}), classes, Evidence(), run)
    broken = Table(ImageFiles([truncated(tmp_path / "half.jpg")]), {"label": Column("label", np.array([0]))})
    with pytest.raises(UnreadableItem, match=r"half\.jpg"):
        evaluate(fitted, broken, run, backbone=backbone)
