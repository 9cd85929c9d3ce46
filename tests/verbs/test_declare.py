from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from diptych.core import UsageError
from diptych.core.ranges import between
from diptych.verbs import kinds
from diptych.verbs.arguments import argument, method, settings
from diptych.verbs.declare import Verb
from diptych.verbs.encode import Encode
from diptych.verbs.link import LinkTables


@dataclass(frozen=True, kw_only=True)
class Sort(Verb):
    """Sort photos."""

    role: ClassVar[str] = "diptych.core:Detector"

    photos: object = argument("Photos.", kinds.MANY_PHOTOS, positional=True)
    share: float = argument("A share.", default=0.5, range=between(0, 1))
    words: Any = argument("Words.", kinds.WORDS, ())
    hidden: str = argument("Over HTTP alone.", default="", faces=("http",))
    method: Any = method("gaussian", "A detector.")
    settings: Any = settings()


def test_arguments_stand_on_the_faces_that_they_name() -> None:
    assert Sort.name == "sort"
    assert "hidden" in Sort.arguments("http")
    assert "hidden" not in Sort.arguments("command")
    assert Sort.type_of("share") is float


def test_values_are_read_by_their_kind_and_an_error_names_the_argument() -> None:
    assert Sort.parsed("command", photos=["p"], words="a, b").words == ("a", "b")
    with pytest.raises(UsageError, match=r"^settings takes NAME=VALUE"):
        Sort.parsed("command", photos=["p"], settings=["x"])


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_value_outside_its_range_is_named(share: float) -> None:
    with pytest.raises(UsageError, match=r"^share must be in \[0, 1\], got"):
        Sort.parsed("python", photos=["p"], share=share).checked(("share",))


def test_the_system_has_its_settings() -> None:
    from diptych.methods.detect.feature_memory import FeatureMemory

    verb = Sort.parsed("python", photos=["p"], method="feature-memory", settings={"side": 40})
    assert verb.system() == FeatureMemory(side=40)
    assert Sort(photos=["p"], method=FeatureMemory(side=40)).system() == FeatureMemory(side=40)
    with pytest.raises(UsageError, match="is a class, not a system"):
        Sort(photos=["p"], method=FeatureMemory).system()


@pytest.mark.parametrize("name", ["vectors.npy", "vectors.parquet", "bus.png", "table.CSV"])
def test_a_folder_is_not_named_as_a_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"out is a folder of several files, .*without {Path(name).suffix}\.$"):
        Encode.check_out(tmp_path / name)
    (tmp_path / name).mkdir()
    for folder in (None, tmp_path / name, tmp_path / "my.index", tmp_path / "v1.0"):
        Encode.check_out(folder)
    LinkTables.check_out(tmp_path / "links.csv")
