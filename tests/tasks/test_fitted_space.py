"""Spaces of folders: measured by extend and on its board as they are, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import diptych as package
from diptych.core import ClassNames, DataError, UsageError
from diptych.data.modalities import CLOUDS, STARS
from diptych.features import artefacts, portable
from diptych.features.classes_in_order import InOrder
from diptych.methods.classify.gda import GDA
from diptych.methods.extend.vifi_clip import ViFiCLIP
from diptych.tasks.fitted_space import for_classes, read, stated
from tests.cli.conftest import diptych  # noqa: F401
from tests.support.sky import TINY, sky
from tests.tasks.test_extend import clips  # noqa: F401

Cli = Callable[..., Any]
SHORT = ("--frames", "2", "--template", "a {}.", "--epochs", "4")


@pytest.fixture(autouse=True)
def torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.backbones.engines.engine.Engines.runner", lambda *given: None)


def test_clips_are_measured(diptych: Cli, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    first = diptych("extend", clips, *SHORT, "--out", "space", "--json")
    assert first.code == 0, first.err
    about = stated(Path("space"))
    assert (about.slug, about.classes, about.system.epochs) == ("vifi-clip", ("blue", "red"), 4)
    monkeypatch.setattr(ViFiCLIP, "fit", lambda *given: pytest.fail("something is learnt"))
    again = diptych("extend", clips, "--fitted", "space", "--json")
    assert again.code == 0, again.err
    assert again.data["right"] == first.data["right"]
    assert again.data["templates"] == ["a {}."]
    assert again.data["fitted"]["sha256"] == portable.checksum(Path("space"))
    assert again.data["fitted"]["system"].startswith("ViFiCLIP(")
    shown = diptych("extend", clips, "--fitted", "space", "-m", "vifi-clip")
    assert "vifi-clip, loaded from space, 2 classes" in shown.out
    assert "--model space" in shown.out
    assert not Path("clip-model").exists()
    board = diptych("board", "extend", clips, "--frames", "2", "--template", "a {}.", "--fitted", "space", "--json")
    assert board.code == 0, board.err
    rows = {row["method"]: row for row in board.data["rows"]}
    assert set(rows) == {"frame-mean", "vifi-clip"}
    assert rows["vifi-clip"]["acc1"] * board.data["items"] == first.data["right"]["vifi-clip"]
    assert rows["vifi-clip"]["fitted"]["sha256"] == portable.checksum(Path("space"))
    python = package.extend(clips, fitted="space")
    assert python.right == first.data["right"]
    assert (python.folder, python.as_dict()["fitted"]["folder"]) == (None, "space")


def test_what_does_not_go_together(diptych: Cli, clips: Path) -> None:  # noqa: F811
    assert diptych("extend", clips, "-m", "frame-mean", "--frames", "2", "--out", "space").code == 0
    for words, says in (
        (("--fitted", "nothing"), "There is no folder nothing"),
        (("--fitted", "space", "--epochs", "3"), "keeps its settings: leave --epochs out"),
        (("--fitted", "space", "-m", "ila"), "space holds what frame-mean fitted, and not ila"),
        (("--fitted", "space", "--out", "more"), "nothing is written: leave --out out"),
    ):
        wrong = diptych("extend", clips, *words)
        assert (wrong.code, says in wrong.err) == (2, True), wrong.err
    other = diptych("board", "extend", clips, "--frames", "1", "--fitted", "space")
    assert (other.code, "looks at 2 frames per clip, and the board at 1: give --frames 2" in other.err) == (2, True)


def test_stars_know_the_classes_that_they_learnt(diptych: Cli, tmp_path: Path) -> None:  # noqa: F811
    sky(tmp_path / "sky")
    space = package.extend(tmp_path / "sky", "space", method=TINY, seed=1)
    again = package.extend(tmp_path / "sky", fitted="space")
    assert again.right["astrom3"] == space.right["astrom3"]
    board = diptych("board", "extend", tmp_path / "sky", "--fitted", "space", "--json")
    assert board.code == 3, "two light curves cannot be read"
    assert [row["method"] for row in board.data["rows"] if "fitted" in row] == ["astrom3"]
    fitted, kind = read(Path("space"), None), STARS
    other = ClassNames(("quasar", fitted.classes.names[0]))
    with pytest.raises(UsageError, match=r"space learnt other classes than those of sky, quasar, .*: it lacks quasar"):
        for_classes(fitted, Path("space"), kind, other, "sky")
    turned = for_classes(fitted, Path("space"), kind, ClassNames(tuple(reversed(fitted.classes.names))), "sky")
    assert isinstance(turned, InOrder)
    assert turned.order == tuple(reversed(range(len(fitted.classes))))
    with pytest.raises(UsageError, match=f"takes {STARS.title}, and sky holds {CLOUDS.title}"):
        for_classes(fitted, Path("space"), CLOUDS, other, "sky")


def test_folders_of_earlier_versions_and_of_other_things(diptych: Cli, clips: Path) -> None:  # noqa: F811
    assert diptych("extend", clips, *SHORT, "--out", "space").code == 0
    path = Path("space/fitted.json")
    facts = json.loads(path.read_text())
    del facts["about"]
    path.write_text(json.dumps(facts))
    assert (stated(Path("space")).slug, stated(Path("space")).classes) == ("vifi-clip", ("blue", "red"))
    old = diptych("extend", clips, "--fitted", "space", "--json")
    assert old.data["fitted"]["system"] == "vifi-clip"
    silent = diptych("board", "extend", clips, "--frames", "2", "--fitted", "space")
    assert (silent.code, "does not say by which system and settings" in silent.err) == (2, True)
    artefacts.save(ClassNames(("a", "b")), Path("names"), ViFiCLIP())
    with pytest.raises(DataError, match="names holds a ClassNames and no fitted space"):
        read(Path("names"), None)
    artefacts.save(ClassNames(("a", "b")), Path("photos"), GDA())
    other = diptych("extend", clips, "--fitted", "photos")
    assert (other.code, "photos holds what gda fitted, a system of classify" in other.err) == (2, True)
