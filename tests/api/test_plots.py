"""Plots, the confusion matrix, accuracy and the forms of tables."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import diptych
from diptych.api.results import Results
from diptych.core import UsageError

pytest.importorskip("matplotlib", reason="plots need the extra plot")


def results(truth: tuple[str, ...] = ("cat", "dog", "dog")) -> Results[str]:
    table = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    labels = ("cat", "cat", "dog")
    return Results(
        "3 photos", labels, ("a.png", "b.png", "c.png"), labels, labels, {"label": labels}, {}, classes=("cat", "dog"),
        table=table, truth=truth, picture=lambda i: Image.new("RGB", (8, 8), (80 * i, 0, 0)),
    )  # fmt: skip


def test_the_matrix_counts_true_classes_in_rows() -> None:
    made = results()
    assert made.confusion_matrix().to_numpy().tolist() == [[1, 0], [1, 1]]
    assert made.accuracy == pytest.approx(2 / 3)
    assert list(made.to_pandas().columns) == ["path", "label", "truth"]
    with pytest.raises(UsageError, match="needs labelled data"):
        results(()).confusion_matrix()
    with pytest.raises(AttributeError, match="have no true classes"):
        results(()).accuracy  # noqa: B018


def test_tables_are_wide_or_long() -> None:
    made = results(())
    assert list(made.to_pandas("wide").columns) == ["path", "label", "p(cat)", "p(dog)"]
    long = made.to_pandas("long")
    assert (len(long), long["probability"].iloc[:2].tolist()) == (6, [0.9, 0.1])
    assert long.groupby("path")["probability"].sum().tolist() == pytest.approx([1, 1, 1])
    with pytest.raises(UsageError, match="must be 'wide' or 'long', got 'tall'"):
        made.to_pandas("tall")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["", "classes", "confusion", "reliability", "pictures"])
def test_each_kind_is_a_figure_that_can_be_saved(kind: str) -> None:
    figure = results().plot(kind)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    assert Image.open(io.BytesIO(file.getvalue())).width > 100


@pytest.mark.parametrize("kind", ["classes", "confusion", "pictures"])
def test_dollars_in_names_are_no_formula(kind: str) -> None:
    """Two dollars in a name made a formula of what is between them, or a ValueError where that is none."""
    names = (r"from $5 to \frac{1$", "$x")
    labels, table = (names[0], names[0], names[1]), np.eye(3, 2)
    made: Results[str] = Results(
        "3 photos", labels, (f"{names[0]}.png", "b.png", "c.png"), labels, labels, {"label": labels}, {},
        classes=names, table=table, truth=labels, picture=lambda i: Image.new("RGB", (8, 8)),
    )  # fmt: skip
    figure = made.plot(kind)
    figure.savefig(io.BytesIO(), format="png")
    texts = [t.get_text() for ax in figure.axes for t in (ax.title, *ax.get_yticklabels())]
    assert any(r"from \$5 to " in text for text in texts)  # "\$" is how a dollar is asked for


def test_wide_names_and_titles_leave_room_for_the_axes() -> None:
    """A class name as wide as a sentence pushed the names of all classes out of the figure."""
    wide = "a class that somebody described in a whole sentence, which explains everything"
    labels = (wide, "dog")
    made: Results[str] = Results(
        f"2 photos: {wide}, {wide}", labels, ("a", "b"), labels, labels,
        {"acc1": (0.5, 0.6), "low": (0.4, 0.5), "high": (0.6, 0.7)}, {}, classes=labels, table=np.eye(2), truth=labels,
    )  # fmt: skip
    for kind in ("confusion", "classes", "board"):
        figure = made.plot(kind)
        figure.draw_without_rendering()
        ax = figure.axes[0]
        assert ax.get_position().width > 0.2, kind
        drawn = [*ax.get_yticklabels(), ax.title]  # labels of ticks outside of the axes have a place too
        edges = [text.get_window_extent() for text in drawn if text.get_text()]
        assert min(edge.x0 for edge in edges) >= 0, kind
        assert max(edge.x1 for edge in edges) <= figure.bbox.width, kind


def test_a_matrix_of_many_classes_keeps_the_shares_of_whole_rows() -> None:
    names = tuple(f"class {i:02}" for i in range(40))
    truth = tuple(name for name in names[:30] for _ in range(2)) + names[30:]
    labels = tuple(names[35] if i % 2 else name for i, name in enumerate(truth[:60])) + names[30:]
    made: Results[str] = Results(
        "70 photos", labels, tuple(map(str, range(70))), labels, labels, {}, {}, classes=names, truth=truth,
        table=np.zeros((70, 40)),
    )  # fmt: skip
    ax = made.plot("confusion").axes[0]
    assert np.asarray(ax.images[0].get_array()).diagonal().tolist() == [0.5] * 30
    assert "30 of 40 classes" in ax.get_title()


def test_the_usual_plot_is_of_what_there_is() -> None:
    assert results().plot().axes[0].get_ylabel() == "true"
    assert results(()).plot().axes[0].get_xlabel() == "number of results"


def test_what_cannot_be_plotted_is_refused() -> None:
    with pytest.raises(UsageError, match="kind= must be one of board, classes, confusion"):
        results().plot("pie")
    with pytest.raises(UsageError, match="needs labelled photos"):
        results(()).plot("reliability")
    nothing: Results[str] = Results("0 photos", (), (), (), (), {}, {})
    with pytest.raises(UsageError, match="nothing to plot: 0 photos"):
        nothing.plot()


def test_class_folders_bring_the_truth(tmp_path: object) -> None:
    data = diptych.open_data("demo:clothes")
    made = diptych.classify(data["test"].take(range(0, 138, 10)), model="tiny")
    assert len(made.truth) == len(made) == 14
    assert made.confusion_matrix().to_numpy().sum() == 14
    other = diptych.classify(data["test"].take(range(0, 138, 20)), ["sky", "sea"], "tiny")
    assert other.truth == ()
