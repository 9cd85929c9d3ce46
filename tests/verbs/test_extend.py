from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import diptych
from diptych.core import DiptychError
from diptych.methods.extend.ila import ILA
from diptych.verbs.extend import Extend
from tests.cli.conftest import diptych as run  # noqa: F401
from tests.support.sky import TINY, sky
from tests.support.small_clip import small_clip
from tests.tasks.test_extend import clips  # noqa: F401


@pytest.fixture(autouse=True)
def torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch encode: preparing an engine takes longer than these tests."""
    monkeypatch.setattr("diptych.backbones.engines.engine.Engines.runner", lambda *given: None)


def test_python_returns_a_space_that_names_other_clips(run: Any, clips: Path, tmp_path: Path) -> None:  # noqa: F811
    vit = small_clip(tmp_path / "again")
    space = diptych.extend(clips, tmp_path / "tuned", vit, frames=2, epochs=12, template="a {}.")
    assert (space.tested, list(space.right), space.classes) == (8, ["frame-mean", "vifi-clip"], ("blue", "red"))
    assert space.as_dict()["templates"] == ["a {}."]
    assert "vifi-clip   " in str(space)
    named = diptych.classify(clips / "test", model=space)
    right = sum(Path(name).parent.name == label for name, label in zip(named.names, named.labels, strict=True))
    assert right == space.right["vifi-clip"]
    used = run("classify", clips / "test", "--model", tmp_path / "tuned", "--json", "-k", "1")
    assert [p["labels"][0]["label"] for p in used.data["predictions"]] == list(named.labels)


def test_a_system_keeps_its_settings_where_no_argument_changes_them() -> None:
    system = Extend.parsed("python", data="set", method=ILA(epochs=7, frames=4)).system()
    assert (system.epochs, system.frames) == (7, 4)
    changed = Extend.parsed("python", data="set", method=ILA(frames=4), epochs=3, settings={"batch": 8}).system()
    assert (changed.epochs, changed.frames, changed.batch) == (3, 4, 8)
    named = Extend.parsed("command", data="set", method="ila", settings=["epochs=9"]).system()
    assert (named.epochs, named.frames, named.sampling) == (9, 8, "middle")


def test_open_data_are_learnt_from_as_a_path_is(clips: Path) -> None:  # noqa: F811
    data = diptych.open_data(clips, need="clips")
    vit, train = small_clip(clips / "vit"), {"train": data["train"]}
    with pytest.warns(UserWarning, match="no test or val split"):
        space = diptych.extend(train, model=vit, method="frame-mean", frames=2)
    assert (space.tested, space.folder) == (0, None)


def test_what_nothing_measures_is_said(tmp_path: Path) -> None:
    table = sky(tmp_path / "sky") / "stars.csv"
    table.write_text(table.read_text().replace(",test", ",train"))
    with pytest.warns(UserWarning, match="There is no test or val split, so nothing is measured"):
        space = diptych.extend(tmp_path / "sky", method=TINY, seed=1)
    assert space.remarks == ("There is no test or val split, so nothing is measured.",)
    assert [e.name for e in space.failed] == ["s22", "s23"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tunes": "prompts"}, "tunes= takes full or heads, not 'prompts': for prompts use settings="),
        ({"method": "ila", "tunes": "full"}, "ila does not read tunes=, but vifi-clip does"),
        ({"epochs": 0}, "epochs= must be at least 1, got 0"),
        ({"settings": {"epoch": 3}}, "has no setting 'epoch', did you mean 'epochs'"),
        ({"label": "kind"}, "label= is for light curves, and these are clips"),
        ({"method": "gda"}, "gda is no extender"),
        ({"method": TINY}, "astrom3 does not read model=: leave it out"),
    ],
)
def test_errors_name_the_arguments_of_python(clips: Path, given: dict[str, Any], says: str) -> None:  # noqa: F811
    with pytest.raises(DiptychError, match=says):
        diptych.extend(sky(clips / "sky") if given.get("method") is TINY else clips, model="tiny", **given)


def test_photos_are_refused() -> None:
    with pytest.raises(DiptychError, match="demo:photos holds photos, and extend learns from clips"):
        diptych.extend("demo:photos")


def test_the_command_takes_settings_and_a_trial(run: Any, clips: Path, tmp_path: Path) -> None:  # noqa: F811
    got = run("extend", clips, "--set", "frames=2", "--set", "epochs=1", "--out", tmp_path / "m", "--json")
    assert (got.code, got.data["settings"], got.data["remarks"]) == (0, {"frames": "2", "epochs": "1"}, []), got.err
    got = run("extend", clips, "--frames", "2", "--dry-run", "--out", tmp_path / "trial")
    assert (got.code, "Nothing was written" in got.out, (tmp_path / "trial").exists()) == (0, True, False), got.err
