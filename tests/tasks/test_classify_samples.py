"""Samples of every modality are named by words alone, or by a kept space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import diptych  # noqa: F401
from tests.support.sky import extended_stars, sky
from tests.tasks.test_extend import clips, clouds, made  # noqa: F401

Cli = Callable[..., Any]


def test_clouds_are_named_by_words_alone(diptych: Cli, clouds: Path) -> None:  # noqa: F811
    got = diptych("classify", clouds / "test", "--templates", "image of a {}.", "-k", "1", "--json")
    assert got.code == 0, got.err
    assert len(got.data["predictions"]) == 9
    assert got.data["backbone"].endswith("+clouds6")
    (clouds / "test/box/bad.xyz").write_text("no numbers\n")
    got = diptych("classify", clouds / "test", "--names", "box, plate")
    assert (got.code, "bad.xyz: damaged .xyz file" in got.err) == (3, True)
    got = diptych("classify", clouds, "--names", "a, b", "--frames", "2")
    assert (got.code, "For point clouds there are no frames" in got.err) == (2, True)


def test_the_command_line_names_new_stars(diptych: Cli, tmp_path: Path) -> None:  # noqa: F811
    fitted = diptych("extend", sky(tmp_path / "sky", label="kind"), "--label", "kind", "--epochs", "2", "--out", "m")
    assert fitted.code == 3
    assert "16 aligned, 15 labelled of 2 classes" in fitted.out
    assert "from scratch" in fitted.out
    assert "s22: has 15 measurements" in fitted.err
    answer = diptych("classify", "sky/light_curves.csv", "--model", "m", "-k", "1", "--json")
    assert answer.code == 3
    assert len(answer.data["predictions"]) == 22
    assert answer.data["method"] == "astrom3"
    written = diptych("classify", "sky", "--model", "m", "--out", "answers.csv")
    assert "all from the cache" in written.err
    assert Path("answers.csv").read_text().startswith("path,rank,label,probability")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["classify", "{sky}"], 2, "give its folder as the model"),
        (["classify", "{sky}", "--model", "nowhere"], 1, "nowhere"),
        (["classify", "{sky}", "--model", "{model}", "--coverage", "0.9"], 2, "leave them out"),
        (["classify", "{sky}", "{sky}", "--model", "{model}"], 2, "one table"),
        (["classify", "{sky}", "--model", "{model}", "--out", "x.html"], 2, "no page"),
        (["classify", "x.xyz", "--model", "{model}"], 2, "takes light curves, and x.xyz holds point clouds"),
    ],
)
def test_wrong_calls_are_one_sentence(diptych: Cli, made: Path, words: list[str], code: int, says: str) -> None:  # noqa: F811
    Path("x.xyz").write_text("0 0 0\n")
    answer = diptych(*[w.replace("{sky}", str(made / "sky")).replace("{model}", str(made / "model")) for w in words])
    assert (answer.code, says in answer.err) == (code, True), answer.err


def test_a_space_of_words_takes_no_stars(made: Path, tmp_path: Path) -> None:  # noqa: F811
    again = extended_stars(made / "sky", tmp_path / "again")
    assert (tmp_path / "again" / "fitted.json").is_file()
    assert again.classifier.modality.title == "light curves"
