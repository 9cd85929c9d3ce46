"""A user's code, for mypy --strict (make rules): nothing is Any by accident, and a wrong argument is found."""

from __future__ import annotations

from pathlib import Path

import diptych
from diptych import Results, systems
from diptych.tasks.classified import Prediction


def sure(results: Results[Prediction], least: float) -> list[str]:
    """Return the paths of what is surely named."""
    return [path for path, item in zip(results.paths, results, strict=True) if item.probability >= least]


def main(photos: Path) -> None:
    """Use the verbs as a page of documentation does."""
    model = diptych.load("lite", device="cpu")
    results = diptych.classify(photos, ["cat", "dog"], model, top=2)
    names: list[str] = sure(results, 0.8)
    index = diptych.index(photos, "photo-index", model)
    near = index.search("a cat", top=3)
    scores: list[float] = [found.score for found in near]
    data = diptych.open_data("demo:clothes")
    board = diptych.board(data, model, methods=["gda"], shots=(1, 4), seeds=1)
    tuned = diptych.finetune(data, "tuned", model, method=systems.LoRA(), epochs=1, train_batch=16)
    vectors = model.encode_image([str(photos)])
    print(names, scores, board.title, tuned.rows(), vectors.shape)  # noqa: T201


if __name__ == "__main__":
    main(Path("photos"))
