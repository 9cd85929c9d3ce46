"""A user's code, for mypy --strict (make rules): nothing is Any by accident, and a wrong argument is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import diptych
from diptych import Model, Results, systems
from diptych.sklearn import ImageEmbedder, SystemClassifier
from diptych.tasks.classified import Prediction


def sure(results: Results[Prediction], least: float) -> list[str]:
    """Return the paths of what is surely named."""
    return [path for path, item in zip(results.paths, results, strict=True) if item.probability >= least]


def nearest(model: Model, photos: list[Image.Image], text: str) -> int:
    """Return the position of the photo that is nearest to a text."""
    cosines: NDArray[np.float32] = model.encode_image(photos) @ model.encode_text(text).T
    return int(cosines[:, 0].argmax())


def grid_search(model: Model, photos: list[str], labels: list[str]) -> list[float]:
    """Return the best scores of a pipeline, and of a system."""
    pipeline = make_pipeline(ImageEmbedder(model), LogisticRegression())
    probe = SystemClassifier(systems.LinearProbe(C=1.0), model)
    searches = GridSearchCV(pipeline, {"logisticregression__C": [1, 10]}), GridSearchCV(probe, {"system__C": [1.0]})
    return [float(search.fit(photos, labels).best_score_) for search in searches]


def main(photos: Path) -> None:
    """Use the verbs as a page of documentation does."""
    model = diptych.load("lite", device="cpu")
    results = diptych.classify(photos, ["cat", "dog"], model, top=2)
    names: list[str] = sure(results, 0.8)
    label: str = results[0].label
    table: NDArray[np.floating] = results.probabilities
    index = diptych.index(photos, "photo-index", model)
    near = index.search("a cat", top=3)
    scores: list[float] = [found.score for found in near]
    data = diptych.open_data("demo:clothes")
    board = diptych.board(data, model, methods=["gda"], shots=(1, 4), seeds=1)
    tuned = diptych.finetune(data, "tuned", model, method=systems.LoRA(), epochs=1, train_batch=16)
    vectors = diptych.encode(photos, model=model)
    shape: tuple[int, ...] = vectors.shape
    cosines: NDArray[np.float32] = vectors @ diptych.encode(texts=["a cat"], model=model).T
    fitted = systems.LinearProbe(C=1.0).fit(model, data["train"])
    accuracy: float = fitted.score(data["test"])
    predicted: list[str] = fitted.predict("photos").tolist()
    labels: NDArray[np.uint8 | np.uint16] = diptych.segment(photos, ["cat", "grass"])[0].labels
    caption: str = diptych.caption(photos, ["a cat on a sofa", "a dog"], model)[0][0]
    anomalous: list[float] = [found.score for found in diptych.detect("shop", model, normal="good")]
    kept = diptych.curate("pairs.csv").apply("kept", t=1)
    report = diptych.check(data)
    print(names, label, table, scores, board.title, tuned.rows(), shape, cosines, accuracy, predicted)  # noqa: T201
    print(labels, caption, anomalous, len(kept), report.ok, nearest(model, [], ""))  # noqa: T201


if __name__ == "__main__":
    main(Path("photos"))
