from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.core import DiptychError
from tests.support.pictures import Pictures, picture

WORDS = {"source": "a red circle", "target": "a blue circle"}
QUICK = {"bank": 8, "passes": 1, "batch": 4, "width": 8, "probes": 1}


def test_python_gives_pictures_rows_and_remarks(tmp_path: Path) -> None:
    given = {**WORDS, "count": 2, "settings": QUICK, "seed": 3}
    result = diptych.edit(**given, threshold=0, fitted=tmp_path / "kept", out=tmp_path / "out")  # type: ignore[arg-type]
    data = result.as_dict()
    assert result.names == ("seed3-1", "seed3-2")
    assert [len(row["moved"]) for row in data["pictures"]] == [28, 28]
    assert (data["generator"], data["denoiser"], data["segmenter"], data["subject"]) == ("factors", None, None, None)
    assert (data["variant"], data["settings"], data["backbone"]) == ("small", QUICK, "tiny")
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.*")) == sorted(
        ["edit.json", *2 * ["seed3-1.png"], *2 * ["seed3-2.png"]]
    )
    with pytest.warns(UserWarning, match="give a lower threshold="):
        still = diptych.edit(**given, threshold=99, fitted=tmp_path / "kept")  # type: ignore[arg-type]
    assert len(still.remarks) == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, 'give source=, such as "a red circle", and target='),
        ({**WORDS, "photos": Pictures((picture(0, 0),)), "count": 2}, "so count= has no effect"),
        ({**WORDS, "subject": "x.png"}, "deltaedit does not read subject=, but"),
        ({**WORDS, "strength": -1}, "strength= must be at least 0"),
        ({"target": "a cup", "method": "mosaic"}, "changes your own pictures: give photos="),
        (
            {"photos": Pictures((picture(0, 0),)), "target": "a cup", "method": "mosaic", "model": "local:nowhere"},
            "names no object",
        ),
        ({"target": "a cup", "method": "galip"}, "use generate, with galip as method="),
        ({"photos": Pictures((picture(0, 0),)), **WORDS, "method": "cut-and-paste"}, "choose another method="),
        (
            {"photos": Pictures((picture(0, 0),)), **WORDS, "generator": "factors"},
            "as inverter=, or small as generator=",
        ),
        (
            {"photos": Pictures((picture(0, 0),)), "source": "a cat", "target": "a dog", "model": "local:nowhere"},
            "The small generator never learnt cat, dog, and no photographs: .*, or continue anyway with anyway=",
        ),
        (
            {"source": "a cat", "target": "a dog", "model": "local:nowhere"},
            "The generator factors draws coloured shapes",
        ),
        ({**WORDS, "inverter": "cat.jpg", "model": "local:nowhere"}, r"'cat\.jpg' is no inverter=: give a file of e4e"),
        ({**WORDS, "generator": "ffhq.pt", "model": "local:nowhere"}, r"There is no weight file ffhq\.pt"),
    ],
)
def test_errors_name_the_arguments_of_python(given: dict[str, object], says: str) -> None:
    with pytest.raises(DiptychError, match=says):
        diptych.edit(**given)  # type: ignore[arg-type]
