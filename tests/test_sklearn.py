from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import diptych
from diptych.core import MissingEvidence, UsageError
from diptych.nn.gaussian_discriminant import class_means, discriminant, pooled_scatter, shrunk_precision
from diptych.sklearn import EmbeddingClassifier, ImageEmbedder, SystemClassifier


@parametrize_with_checks([EmbeddingClassifier(), EmbeddingClassifier("linear-probe")])
def test_it_is_an_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


def sample(n: int = 60, d: int = 8, k: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(k, d))
    y = np.arange(n) % k
    return centres[y] + 0.6 * rng.normal(size=(n, d)), y, centres


def test_the_gda_is_that_of_the_system() -> None:
    import torch

    X, y, _ = sample()
    z = torch.nn.functional.normalize(torch.from_numpy(X), dim=-1)
    means = class_means(z, torch.from_numpy(y), 4)
    weight, bias = discriminant(means, shrunk_precision(pooled_scatter(z, torch.from_numpy(y), means), len(z)))
    found = EmbeddingClassifier().fit(X, y).decision_function(X)
    assert np.allclose(found, (z @ weight.T + bias).numpy())


def test_a_head_alone_is_zero_shot() -> None:
    X, y, centres = sample()
    unit = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    cosines = X / np.linalg.norm(X, axis=1, keepdims=True) @ unit.T
    found = EmbeddingClassifier(head=centres, alpha=0.0, scale=10.0).fit(X, y)
    assert np.allclose(found.decision_function(X), 10 * cosines)
    assert np.allclose(found.predict_proba(X).sum(axis=1), 1)


def test_the_weight_can_be_searched() -> None:
    X, y, centres = sample()
    labels = np.array(["a", "b", "c", "d"])[y]
    found = GridSearchCV(EmbeddingClassifier(head=centres), {"alpha": [0.01, 1.0]}, cv=3).fit(X, labels)
    assert found.score(X, labels) > 0.7


def test_bad_parameters() -> None:
    X, y, _ = sample()
    for bad, says in (
        ({"method": "gpa"}, "one of gda, linear-probe"),
        ({"head": np.ones((3, 8))}, "head must be"),
        ({"method": "linear-probe", "C": 0}, "above 0"),
    ):
        with pytest.raises(ValueError, match=says):
            EmbeddingClassifier(**bad).fit(X, y)
    with pytest.warns(DeprecationWarning, match=r"is now C="):
        former = EmbeddingClassifier("linear-probe", c=10.0).fit(X, y)
    assert (former.coef_ == EmbeddingClassifier("linear-probe", C=10.0).fit(X, y).coef_).all()


def coloured(count: int = 12) -> tuple[list[Any], list[str]]:
    from PIL import Image

    labels = ["red", "blue"] * (count // 2)
    rng = np.random.default_rng(0)
    noisy = [np.clip(rng.normal((200, 40, 40) if c == "red" else (40, 40, 200), 20, (8, 8, 3)), 0, 255) for c in labels]
    return [Image.fromarray(pixels.astype(np.uint8)) for pixels in noisy], labels


def test_photos_go_through_a_pipeline(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path))
    photos, labels = coloured()
    model = diptych.load("tiny", engine="torch")
    pipeline = make_pipeline(ImageEmbedder(model), EmbeddingClassifier("linear-probe"))
    search = GridSearchCV(pipeline, {"embeddingclassifier__c": [1.0, 1000.0]}, cv=2).fit(photos, labels)
    assert search.score(photos, labels) == 1.0
    rows = pipeline[:1].transform(photos[:3])
    np.testing.assert_array_equal(rows, model.encode_image(photos[:3]))
    assert len(pipeline[:1].get_feature_names_out()) == rows.shape[1]


def test_the_parameters_of_a_system_can_be_searched(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path))
    photos, labels = coloured()
    estimator = SystemClassifier(diptych.systems.LinearProbe(C=1.0), diptych.load("tiny", engine="torch"))
    search = GridSearchCV(estimator, {"system__C": [1e-6, 1000.0], "seed": [3]}, cv=2).fit(photos, labels)
    assert search.best_estimator_.system.get_params()["C"] == search.best_params_["system__C"]
    assert search.predict(photos).tolist() == labels
    assert search.predict_proba(photos).shape == (12, 2)
    assert estimator.system.get_params() == {"C": 1.0}


def test_a_system_that_reads_texts_or_unlabelled_photos_can_be_searched(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path))
    photos, labels = coloured()
    model = diptych.load("tiny", engine="torch")
    texts = {name: [f"a {name} thing", f"something {name}"] for name in set(labels)}
    for system, more in ((diptych.systems.Description(), {"texts": texts}), (diptych.systems.TransCLIP(gamma=1.0), {})):
        estimator = SystemClassifier(system, model, unlabelled=photos, **more)
        assert GridSearchCV(estimator, {"seed": [0]}, cv=2).fit(photos, labels).predict(photos).shape == (12,)
    with pytest.raises(MissingEvidence, match="unlabelled= is missing: give some"):
        SystemClassifier(diptych.systems.TransCLIP(), model).fit(photos, labels)


def test_positions_are_predicted_where_the_labels_are_positions(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path))
    photos, labels = coloured()
    names = ["red", "blue"]  # not sorted
    positions = [names.index(label) for label in labels]
    estimator = SystemClassifier(
        diptych.systems.LinearProbe(C=1000.0), diptych.load("tiny", engine="torch"), names=names
    )
    assert cross_val_score(estimator, photos, positions, cv=2).tolist() == [1.0, 1.0]
    fitted = estimator.fit(photos, np.array(positions))
    assert fitted.classes_.tolist() == [0, 1]
    assert fitted.predict(photos).tolist() == positions
    assert fitted.score(photos, positions) == 1.0
    assert fitted.predict_proba(photos).argmax(axis=1).tolist() == positions
    assert estimator.fit(photos, labels).predict(photos).tolist() == labels


@pytest.mark.parametrize(
    ("system", "sentence"),
    [
        ("gda", r"such as diptych.systems.GDA\(\), not 'gda'\."),
        (diptych.systems.GDA, r"not the class GDA: add \(\)\."),
        (diptych.systems.SCLIP(), "and SCLIP is a system of segment"),
    ],
)
def test_what_is_no_classifier_is_refused(system: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        SystemClassifier(system, "tiny").fit([], [])


def test_paths_of_photos_are_no_embeddings_and_the_step_before_is_named() -> None:
    for photos in (["a.jpg", "b.jpg"], np.array([["a.jpg"], ["b.jpg"]])):
        with pytest.raises(ValueError, match="put an ImageEmbedder before this"):
            EmbeddingClassifier().fit(photos, ["a", "b"])
