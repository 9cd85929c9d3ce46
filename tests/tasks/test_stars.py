"""Stars from light curves: aligned, tuned, kept, and asked again; in Python and on the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from diptych.core import DataError, Kit, Run, UsageError
from diptych.data.load import open_data
from diptych.features.portable import load
from diptych.methods.extend.astrom3 import AstroM3
from diptych.tasks.stars import LEAST, StarClassifier, classify_stars, extend_stars
from tests.cli.conftest import diptych  # noqa: F401

TINY = AstroM3(
    dropouts=(0.0, 0.0, 0.0), length=16, grid=(-2.0, 1.0, 234), width=8, layers=1, heads=2, hidden=8, facts=8, dim=8,
    epochs=2, batch=16,
    rate=1e-3,
)  # fmt: skip


def sky(place: Path, *, label: str = "class") -> Path:
    """Stars that rise and stars that fall; one has too few measurements, one too long a span, one no class."""
    rng = np.random.default_rng(5)
    rows, stars = [["star_id", "time", "mag", "mag_err"]], [["star_id", label, "split"]]
    for i in range(24):
        kind = ("falling", "rising")[i % 2]
        name, count = f"s{i}", 40 if i != 22 else LEAST - 1
        time = np.sort(rng.uniform(0, 20 if i != 23 else 1e6, count))
        value = 12 + (1 if i % 2 else -1) * time / time.max() + rng.normal(0, 0.05, count)
        rows += [[name, t, v, 0.05] for t, v in zip(time, value, strict=True)]
        stars.append([name, "" if i == 0 else kind, "train" if i < 16 else "test"])
    place.mkdir()
    for file, table in (("light_curves.csv", rows), ("stars.csv", stars)):
        with (place / file).open("w", newline="") as out:
            csv.writer(out).writerows(table)
    return place


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stars")
    found = extend_stars(open_data(sky(root / "sky"), need="curves"), Run(seed=1), out=root / "model", method=TINY)
    assert (found.aligned, found.labelled, found.held, found.tested) == (16, 15, "test", 6)
    assert found.right["aligned"] == found.right["from scratch"] == 6  # the two kinds are as different as can be
    assert [e.name for e in found.failed] == ["s22", "s23"]
    assert "15 measurements" in found.failed[0].reason
    assert "days" in found.failed[1].reason
    return root


def test_what_was_kept_answers_as_what_was_fitted(made: Path) -> None:
    curves = open_data(made / "sky", need="curves").split("test")
    answer = classify_stars(curves, made / "model", Run(batch=4), top=1)
    said = {p.name: p.top[0][0] for p in answer.predictions}
    assert said == {f"s{i}": ("falling", "rising")[i % 2] for i in range(16, 22)}
    alone = classify_stars(curves.take([3]), made / "model", Run())
    (own,) = (p for p in answer.predictions if p.name == "s19")
    assert dict(alone.predictions[0].top)[own.top[0][0]] == pytest.approx(own.top[0][1], abs=1e-6)
    kept = load(made / "model", Kit())
    assert isinstance(kept, StarClassifier)
    assert kept.method == TINY
    nothing = classify_stars(curves.take([0]), made / "model", Run(), threshold=1.0)
    assert nothing.predictions[0].top == ()


def test_stars_that_teach_nothing_are_refused(made: Path, tmp_path: Path) -> None:
    data = open_data(made / "sky", need="curves")
    with pytest.raises(UsageError, match="nothing is overwritten"):
        extend_stars(data, Run(), out=made / "model", method=TINY)
    (tmp_path / "light_curves.csv").write_text((made / "sky/light_curves.csv").read_text())
    with pytest.raises(DataError, match="no train split"):
        extend_stars(open_data(tmp_path, need="curves"), Run(), method=TINY)
    (tmp_path / "stars.csv").write_text("star_id,class\ns0,rising\ns1,rising\n")
    with pytest.raises(DataError, match="two or more classes"):
        extend_stars(open_data(tmp_path, need="curves"), Run(), method=TINY)
    with pytest.raises(DataError, match="None of the 1 light curves"):
        classify_stars(data.split("test").take([6]), made / "model", Run())


def test_the_command_line_names_new_stars(diptych, made: Path, tmp_path: Path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr("proofs.benches.stars.SMALL", TINY)
    fitted = diptych("extend", sky(tmp_path / "sky", label="kind"), "--label", "kind", "--epochs", "2", "--out", "m")
    assert fitted.code == 3
    assert "16 light curves aligned, 15 labels of 2 classes" in fitted.out
    assert "from scratch" in fitted.out
    assert "s22: has 15 measurements" in fitted.err
    asked = diptych("classify", "sky/light_curves.csv", "--model", "m", "-k", "1", "--json")
    assert asked.code == 3
    assert len(asked.data["predictions"]) == 22
    assert asked.data["method"] == "astrom3"
    written = diptych("classify", "sky", "--model", "m", "--out", "said.csv")
    assert "22 light curves" in written.err
    assert Path("said.csv").read_text().startswith("path,rank,label,probability")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["classify", "{sky}"], 2, "give its folder with --model"),
        (["classify", "{sky}", "--model", "nowhere"], 1, "nowhere"),
        (["classify", "{sky}", "--model", "{model}", "--sets", "0.9"], 2, "leave them out"),
        (["classify", "{sky}", "{sky}", "--model", "{model}"], 2, "one table"),
        (["classify", "{sky}", "--model", "{model}", "--out", "x.html"], 2, "no page"),
        (["extend", "{sky}", "--label", "colour"], 1, "no column colour"),
        (["extend", "{sky}", "--names", "a, b"], 2, "leave out --names"),
        (["extend", "{sky}", "--out", "{model}"], 2, "nothing is overwritten"),
        (["extend", ".", "--label", "colour"], 2, "--label is for light curves"),
    ],
)
def test_wrong_calls_are_one_sentence(diptych, made: Path, words: list[str], code: int, says: str) -> None:  # noqa: F811
    found = diptych(*[w.replace("{sky}", str(made / "sky")).replace("{model}", str(made / "model")) for w in words])
    assert (found.code, says in found.err) == (code, True), found.err
