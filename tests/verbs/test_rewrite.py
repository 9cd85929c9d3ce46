from __future__ import annotations

from pathlib import Path

import pytest

import diptych
from diptych.api.loading import model_of
from diptych.api.model import Model
from diptych.core import DiptychError
from diptych.methods.rewrite.uf_fgtg import UFFGTG
from diptych.verbs.rewrite import Rewrite
from tests.support.colours import coloured
from tests.support.small_clip import small_clip

QUICK = {"epochs": 1, "batch": 2, "width": 8, "layers": 1, "read": 16, "limit": 6, "warmup": 0}


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return model_of(small_clip(tmp_path / "vit"))


@pytest.mark.filterwarnings("ignore:.* long prompts have more than")
def test_python_gives_the_rows_of_json(model: Model, tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        coloured(tmp_path / f"{colour}.png", colour, 1)
    rows = "red.png,a red cup,a large red cup on a table\nblue.png,a blue cup,a large blue cup on a table\n"
    (tmp_path / "captions.csv").write_text(f"image,caption_1,caption_2\n{rows}")
    given = {"like": tmp_path / "captions.csv", "variant": "text", "settings": QUICK, "choices": 2}
    result = diptych.rewrite("a red cup", model, **given)  # type: ignore[arg-type]
    data = result.as_dict()
    assert data["prompts"] == [{"prompt": "a red cup", "rewrites": list(result[0])}]
    assert (result.names, data["settings"], "skipped" in data) == (("a red cup",), QUICK, False)


@pytest.mark.filterwarnings("ignore:.* long prompts have more than")
def test_words_without_quotes_are_prompts_of_their_own_and_say_so(model: Model, tmp_path: Path) -> None:
    coloured(tmp_path / "red.png", "red", 1)
    (tmp_path / "captions.csv").write_text("image,caption_1,caption_2\nred.png,a red cup,a large red cup on it\n")
    given = {"like": tmp_path / "captions.csv", "variant": "text", "settings": QUICK, "choices": 1}
    with pytest.warns(UserWarning, match="3 texts are rewritten apart: .* as one, as in 'a red cup'"):
        result = diptych.rewrite(["a", "red", "cup"], model, **given)  # type: ignore[arg-type]
    assert len(result.remarks) == 1
    assert diptych.rewrite(["a red cup", "a blue one"], model, **given).remarks == ()  # type: ignore[arg-type]


def test_the_usual_variant_is_that_of_the_usual_rewriter_alone() -> None:
    assert Rewrite(prompts="a dog").row() == Rewrite(prompts="a dog", method="uf-fgtg").row() == "small"
    assert Rewrite(prompts="a dog", method="uf-fgtg", variant="").row() == ""
    assert Rewrite(prompts="a dog", method="my-rewriter").row() == ""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "learns from photos with captions: give like="),
        ({"like": "captions.csv", "choices": 9}, "9 rewrites are wanted, and .* has 5: give a lower choices="),
        ({"like": "captions.csv", "choices": 0}, "choices= must be at least 1"),
        ({"like": "captions.csv", "variant": "text", "denoiser": "small"}, "row of uf-fgtg does not read denoiser="),
        ({"like": "captions.csv", "settings": {"epoch": 1}}, "did you mean 'epochs'"),
        ({"like": "captions.csv", "method": UFFGTG}, "is a class, not a system"),
    ],
)
def test_errors_name_the_arguments_of_python(model: Model, given: dict[str, object], says: str) -> None:
    with pytest.raises(DiptychError, match=says):
        diptych.rewrite(["a dog"], model, **given)  # type: ignore[arg-type]
