"""Systems fitted from plain values are those of the catalog, fitted by hand."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import diptych
from diptych import catalog
from diptych.api.fitting import names_of, texts_of
from diptych.api.loading import model_of
from diptych.api.model import Model
from diptych.core import (
    ClassNames,
    DataError,
    DiptychError,
    Evidence,
    Kit,
    MissingEvidence,
    MissingHook,
    Run,
    UsageError,
)
from diptych.data.splits import few_shot, hold_out
from diptych.data.words.templates import ENSEMBLE
from diptych.nn.dense.mask_queries import MaskLayout
from tests.support.colours import COLOURS, ColourBackbone
from tests.support.dense_colours import DenseColours, halves, masked_folder


def test_a_classifier_equals_one_fitted_by_hand(colours: Path, model: Model) -> None:
    data = diptych.open_data(colours)
    fitted = diptych.systems.GDA(alpha=1.0).fit(model, data["train"], seed=3)
    classes = ClassNames(data.classes, ENSEMBLE)
    hand = catalog.find("gda")(alpha=1.0).fit(
        Kit({"main": ColourBackbone()}), classes, Evidence(train=data.splits["train"]), Run(seed=3)
    )
    test = data.splits["test"]
    scores = hand.scores(test.items, Run(seed=3))
    assert fitted.classes == classes
    assert fitted.predict(data["test"]).tolist() == [classes.names[k] for k in scores.predicted()]
    assert fitted.score(data["test"]) == float((scores.predicted().numpy() == test.labels()).mean())
    np.testing.assert_allclose(fitted.predict_proba(data["test"]).sum(axis=1), 1, rtol=1e-6)
    assert repr(fitted) == "Predictor(gda on colours, 5 classes: blue, green, pink, ...)"
    two = diptych.systems.ZeroShot().fit(model, names=["red", "blue"])
    assert repr(two) == "Predictor(zero-shot on colours, 2 classes: red, blue)"


def test_train_may_be_a_folder_or_photos_with_labels(colours: Path, model: Model) -> None:
    data = diptych.open_data(colours)
    system = diptych.systems.GDA(alpha=1.0)
    labels = data["train"].labels()
    by_split = system.fit(model, data["train"]).predict_proba(data["test"])
    by_pair = system.fit(model, (data["train"], labels), names=data.classes).predict_proba(data["test"])
    by_folder = system.fit(model, colours / "train").predict_proba(data["test"])
    assert np.array_equal(by_split, by_pair)
    assert np.array_equal(by_split, by_folder)


def test_a_system_reads_like_an_estimator(colours: Path, model: Model) -> None:
    data = diptych.open_data(colours)
    system = clone(diptych.systems.GDA(alpha=2.0))
    assert (system.alpha, system.get_params()["views"]) == (2.0, 10)
    train, test = data["train"], data["test"]
    fitted = system.fit(model, train.items, train.labels(), names=dict(enumerate(data.classes)))
    again = pickle.loads(pickle.dumps(fitted))
    assert fitted.classes_.tolist() == list(data.classes)
    assert again.score(test.items, test.labels()) == fitted.score(test)
    with pytest.raises(AttributeError, match=r"make another GDA\(\.\.\.\)\. In scikit-learn, as in a grid search"):
        system.set_params(alpha=1.0)
    with pytest.raises(AttributeError, match="no attribute 'beta'"):
        _ = system.beta
    for name in ("predict", "score"):
        with pytest.raises(AttributeError, match=rf"use what fit returns, GDA\(\.\.\.\)\.fit\(\.\.\.\)\.{name}"):
            getattr(system, name)(test.items)
    with pytest.raises(AttributeError, match="A Predictor has no 'coef_': use fitted, which has its tensors"):
        _ = fitted.coef_  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="A Predictor has no 'oob_score_': it has about, backbone, "):
        _ = fitted.oob_score_  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="has no 'method': use parentheses after the system"):
        diptych.systems.GDA.fit(model, train)
    embeddings = np.zeros((4, 8), np.float32)
    for given in ((embeddings, [0, 1, 0, 1]), (model, embeddings, [0, 1, 0, 1])):
        with pytest.raises(DiptychError, match=r"embeddings go to diptych\.sklearn\.EmbeddingClassifier"):
            system.fit(*given, names=["a", "b"])
    with pytest.raises(TypeError, match="LinearProbe has no parameter 'penalty'; its parameters are: C"):
        diptych.systems.LinearProbe(penalty=1.0)  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match=r"c= is now C=: the old name works in this version alone"):
        assert diptych.systems.LinearProbe(c=2.0).C == 2.0  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="alpha must be at least 0, got 'x'"):
        diptych.systems.GDA(alpha="x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "names",
    [["a", "b"], ("a", "b"), "a, b", np.array(["a", "b"]), {0: "a", 1: "b"}, {"b": 1, "a": 0}, (n for n in "ab")],
)
def test_class_names_come_in_any_form(names: Any) -> None:
    assert names_of(names).names == ("a", "b")


def test_words_of_classes_and_functions_as_templates() -> None:
    made = names_of({"a": ["a", "an a"], "b": "bee"}, templates=[lambda c: f"one {c}."])
    assert (made.names, made.words, made.templates) == (("a", "b"), (("a", "an a"), ("bee",)), ("one {}.",))
    assert names_of(["a"], templates=lambda c: f"one {c}.").templates == ("one {}.",)
    for wrong, said in (([0, 1], "not 0"), ([["a", "b"]], "several words"), ({"a", "b"}, "a set has none")):
        with pytest.raises(UsageError, match=said):
            names_of(wrong)
    with pytest.raises(UsageError, match=r"Template 'a photo' must hold exactly one"):
        names_of(["a"], templates="a photo")


def test_class_names_in_the_place_of_photos_are_answered_with_names(model: Model) -> None:
    for names in (["red", "blue"], "red, blue"):
        with pytest.raises(
            UsageError, match=r"'red(, blue)?' is neither a file nor a folder: class names are given by"
        ):
            diptych.systems.ZeroShot().fit(model, names)
    with pytest.raises(UsageError, match="There is no file or folder nowhere"):
        diptych.systems.ZeroShot().fit(model, "nowhere")


def test_what_is_missing_is_named(colours: Path, model: Model) -> None:
    data = diptych.open_data(colours)
    with pytest.raises(MissingEvidence, match=r"evidence\.train is missing"):
        diptych.systems.GDA(alpha=1.0).fit(model, names=["red", "blue"])
    one_each = data["train"].take(few_shot(data["train"].labels(), 1, seed=0).tolist())
    with pytest.raises(MissingEvidence, match="alpha"):
        diptych.systems.GDA().fit(model, one_each)
    with pytest.raises(UsageError, match="No class names"):
        diptych.systems.PerceptionCLIP().fit(model)
    with pytest.raises(DataError, match="splits train, test"):
        diptych.systems.GDA(alpha=1.0).fit(model, data)


CHOOSING = [c["slug"] for c in catalog.cards() if {"train", "val"} == set(c["needs"]["evidence"])]
"""Classifiers that ask for train and val, and nothing else."""


@pytest.mark.parametrize("slug", CHOOSING)
def test_without_val_choices_are_made_on_held_out_photos(colours: Path, model: Model, slug: str) -> None:
    train = diptych.open_data(colours)["train"]
    system = getattr(diptych.systems, catalog.find(slug).__name__)()
    fitted = system.fit(model, train, seed=3)
    kept, held = hold_out(train.labels(), Run(seed=3).integer("val"))
    by_hand = system.fit(model, train.take(kept), val=train.take(held), seed=3)
    assert fitted.about["val"] == f"{len(held)} of {len(train)} train photos"
    assert fitted.about["chosen"] == by_hand.about["chosen"]
    assert f" chosen on {len(held)} of {len(train)} train photos)" in repr(fitted)
    assert repr(by_hand).endswith(" chosen on val)")
    if slug == "caps-adapter":  # val gives it two ranges too
        expected = by_hand
    else:
        expected = type(system)(**{**system.get_params(), **fitted.about["chosen"]}).fit(model, train, seed=3)
    assert np.array_equal(fitted.predict_proba(train), expected.predict_proba(train))


def test_it_is_saved_and_loaded(colours: Path, model: Model) -> None:
    data = diptych.open_data(colours)
    fitted = diptych.systems.GDA(alpha=1.0).fit(model, data["train"])
    fitted.save("saved")
    again = diptych.load_classifier("saved", model)
    assert np.array_equal(again.predict_proba(data["test"]), fitted.predict_proba(data["test"]))
    assert again.about["method"] == "gda"
    assert again.run is model.run
    named = diptych.load_classifier("saved", "colours")
    assert np.array_equal(named.predict_proba(data["test"]), fitted.predict_proba(data["test"]))
    with pytest.raises(UsageError, match="exists"):
        again.save("saved")
    again.save("saved", overwrite=True)
    Path("other").mkdir()
    with pytest.raises(UsageError, match="holds no exported model"):
        again.save("other", overwrite=True)
    with pytest.raises(DataError, match="a backbone goes to backbone"):
        diptych.load_classifier("other", model)


def test_score_finds_classes_by_name(colours: Path, model: Model) -> None:
    data = diptych.open_data(colours)
    turned = diptych.systems.ZeroShot().fit(model, names=data.classes[::-1])
    assert turned.score(data["test"]) == diptych.systems.ZeroShot().fit(model, names=data.classes).score(data["test"])
    with pytest.raises(DataError, match="'green' is not a class"):
        diptych.systems.ZeroShot().fit(model, names=["red", "blue"]).score(data["test"])


def test_reasons(model: Model) -> None:
    red = np.full((8, 8, 3), COLOURS["red"], np.uint8)
    fitted = diptych.systems.PerceptionCLIP().fit(model, names=["red", "blue"])
    assert len(fitted.explain(red, 2)[0]) == 2
    with pytest.raises(MissingHook, match="gives no reasons"):
        diptych.systems.ZeroShot().fit(model, names=["red", "blue"]).explain(red)


def test_other_roles(model: Model) -> None:
    red = np.full((8, 8, 3), COLOURS["red"], np.uint8)
    captions = diptych.systems.NearestCaption().fit(model, ["a red wall", "a blue wall"])
    assert captions.caption(red).labels == ("a red wall",)
    of_the_verb = diptych.caption(red, ["a red wall", "a blue wall"], model, rate=None)
    assert set(captions.caption(red).as_dict()) == set(of_the_verb.as_dict())
    with pytest.raises(MissingHook, match="colours"):
        diptych.systems.MaskCLIP().fit(model, names=["red"])
    with pytest.raises(UsageError, match=r"CLOOB is a system of pretrain.*diptych pretrain"):
        diptych.systems.CLOOB().fit(model)


def test_dense_roles_on_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    tiny = diptych.load("tiny", engine="torch", cache=False)
    photos = [np.full((64, 64, 3), shade, np.uint8) for shade in (20, 120, 220)]
    found = diptych.systems.MaskCLIP().fit(tiny, names=["red", "blue"]).segment(photos[:1])
    assert found[0].labels.shape == (64, 64)
    assert found.labels[0] in ("red", "blue")
    assert found.picture(0).width > 64  # type: ignore[misc]
    assert set(diptych.segment(photos[0], ["red", "blue"], tiny)[0].areas().values()) == set(found[0].areas().values())
    scores = diptych.systems.FeatureMemory().fit(tiny, photos[:2]).detect(photos)
    with pytest.warns(UserWarning, match=r"^2 of 3 photos are also given as normal="):
        again = diptych.detect(photos, tiny, normal=photos[:2])
    assert [d.score for d in scores] == [d.score for d in again]
    assert scores[2].score > scores[0].score


def test_label_maps_reach_a_segmenter_that_learns_masks(tmp_path: Path) -> None:
    masked = diptych.open_data(masked_folder(tmp_path / "set"), need="masks")["val"]
    model = model_of(DenseColours())
    layout = MaskLayout(queries=4, encoder=1, decoder=1, points=16)
    system = diptych.systems.FCCLIP(side=40, crop=40, layout=layout, steps=2)
    photo = np.asarray(halves("red", "blue"))
    fitted = system.fit(model, names=["red", "pink"], train=masked)
    found = fitted.segment([photo])[0]
    assert found.labels.shape == (40, 60)
    again = diptych.segment(photo, ["red", "pink"], model, method=system, train=masked)[0]
    assert np.array_equal(found.labels, again.labels)
    with pytest.raises(MissingEvidence, match="label maps"):
        system.fit(model, names=["red"])


def test_names(tmp_path: Path) -> None:
    assert names_of(None, ("sea_horse",)).names == ("sea horse",)
    assert names_of(["a", "b"], templates="a {}.").templates == ("a {}.",)
    assert names_of("cat").names == ("cat",)
    with pytest.raises(UsageError, match="1 names for 2 classes"):
        names_of(["a"], ("x", "y"))


def test_texts(tmp_path: Path) -> None:
    made = texts_of({"cat": ["furry", "small"]})
    assert made is not None
    assert [t.value for t in made.texts["cat"]] == ["furry", "small"]
    assert texts_of(None) is None
    clothes = texts_of("clothes")
    assert clothes is not None
    assert "dress" in clothes.texts
