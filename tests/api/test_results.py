"""Results print, index, iterate and convert."""

from __future__ import annotations

import json
import pickle
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.api.results import PICTURED, PRINTED, Results
from diptych.core import MissingExtra, UnreadableItem, UsageError
from diptych.core.guesses import GUESSES


def results(count: int = 2, name: str = "{}.jpg") -> Results[int]:
    def picture(index: int) -> Image.Image:
        if index == 1:
            raise UnreadableItem("1", "gone")
        return Image.new("RGBA", (300, 200), "red")

    names = tuple(name.format(i) for i in range(count))
    lines = tuple(f"line <{i}>" for i in range(count))
    labels = tuple(f"label {i}" for i in range(count))
    failed = (UnreadableItem("<b>.jpg", "empty file"),)
    data = {"rows": list(range(count)), "nan": float("nan")}
    return Results(
        "a <title>", tuple(range(count)), names, labels, lines, {"value": range(count)}, data, failed, picture
    )


def test_a_sequence() -> None:
    made = results(3)
    assert (len(made), made[0], made[-1], made[1:], list(made)) == (3, 0, 2, (1, 2), [0, 1, 2])
    assert made.labels == ("label 0", "label 1", "label 2")
    with pytest.raises(TypeError, match=r"give a position, such as paths\.index\(\.\.\.\), not 'a\.jpg'"):
        _ = made["a.jpg"]  # type: ignore[call-overload]


def test_files_have_paths_and_their_former_name_warns() -> None:
    made = results()
    assert made.paths == ("0.jpg", "1.jpg")
    with pytest.warns(DeprecationWarning, match=r"Results\.names is now Results\.paths: the old name works"):
        assert made.names == made.paths
    systems = replace(made, named="system")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert systems.names == ("0.jpg", "1.jpg")
    with pytest.raises(AttributeError, match="not of files: use names, which has one system each"):
        _ = systems.paths


def test_names_of_other_libraries_lead_to_ours() -> None:
    for name in GUESSES["Results"]:
        with pytest.raises(AttributeError, match=f"A Results has no '{name}': use "):
            getattr(results(), name)
    with pytest.raises(AttributeError, match="has no 'nothing': it has accuracy, as_dict, classes, columns, "):
        _ = results().nothing  # type: ignore[attr-defined]


def test_results_without_labels_say_how_to_get_an_accuracy() -> None:
    with pytest.raises(AttributeError, match=r"no true classes and so no accuracy: give class folders"):
        _ = results().accuracy


def test_it_prints_short_names_where_they_differ() -> None:
    assert repr(results(name="a/{}.jpg")).splitlines() == [
        "a <title>", "0.jpg  line <0>", "1.jpg  line <1>", "1 skipped: <b>.jpg: empty file",
    ]  # fmt: skip
    assert "0/a.jpg  line <0>" in repr(results(name="{}/a.jpg"))
    assert repr(results(PRINTED + 5)).count("line") == PRINTED
    assert "... and 5 more" in repr(results(PRINTED + 5))


def test_it_is_pickled_without_its_pictures() -> None:
    made = results()
    again = pickle.loads(pickle.dumps(made))
    assert (repr(again), again.picture) == (repr(made), None)


def test_json(tmp_path: Path) -> None:
    made = results()
    assert json.loads(made.to_json()) == {"rows": [0, 1], "nan": None}
    text = made.to_json(tmp_path / "r.json")
    assert (tmp_path / "r.json").read_text().strip() == text
    with pytest.raises(UsageError, match="exists"):
        made.to_json(tmp_path / "r.json")
    made.to_json(tmp_path / "r.json", overwrite=True)


def test_a_notebook_shows_pictures_inside_and_nothing_from_elsewhere() -> None:
    html = results()._repr_html_()
    assert html.count('src="data:image/jpeg;base64,') == 1, "the second picture is gone"
    assert html.count("src=") == 1
    assert "http" not in html
    assert "<script" not in html
    assert "line &lt;0&gt;" in html
    assert "a &lt;title&gt;" in html
    assert "&lt;b&gt;.jpg: empty file" in html
    assert "<b>.jpg" not in html
    assert f"... and {3} more" in results(PICTURED + 3)._repr_html_()


def test_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda columns: made.update(columns)))
    results().to_pandas()
    assert made == {"path": ("0.jpg", "1.jpg"), "value": range(2)}
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"to_pandas needs pandas: run pip install pandas\."):
        results().to_pandas()


def test_real_pandas() -> None:
    pytest.importorskip("pandas")
    frame = results().to_pandas()
    assert list(frame.columns) == ["path", "value"]
    assert np.array_equal(frame["value"], [0, 1])
