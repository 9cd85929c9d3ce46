from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from diptych.core import UsageError
from diptych.serve.project import Project, by_name
from diptych.tasks.model import Predictor


def test_a_folder_says_what_it_holds(index_folder: Path, predictor: Predictor, tmp_path: Path) -> None:
    shutil.copytree(index_folder, tmp_path / "project" / "index")
    predictor.save(tmp_path / "project" / "out" / "model")
    (tmp_path / "project" / "out" / "board.html").write_text("x")
    (tmp_path / "elsewhere.html").write_text("x")
    (tmp_path / "project" / "link.html").symlink_to(tmp_path / "elsewhere.html")
    found = Project.of(tmp_path / "project")
    assert [p.name for p in found.indexes] == ["index"]
    assert [p.name for p in found.classifiers] == ["model"]
    assert list(found.reports) == ["out/board.html"]
    with pytest.raises(UsageError, match="no folder"):
        Project.of(tmp_path / "none")


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a" / "x").mkdir(parents=True)
    (tmp_path / "b" / "x").mkdir(parents=True)
    assert by_name([tmp_path / "a" / "x", tmp_path / "a" / "x"]) == {"x": tmp_path / "a" / "x"}
    with pytest.raises(UsageError, match="one name"):
        by_name([tmp_path / "a" / "x", tmp_path / "b" / "x"])
