"""A command gives a verb the model of its options, and another one only where none was chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.cli import options
from diptych.cli.context import CommandContext
from diptych.core import UsageError


def test_another_model_answers_only_where_none_was_chosen() -> None:
    with options.RunOptions(backbone="tiny").open() as opened:
        assert CommandContext(opened, None, usual="tiny").chosen("lite").spec.name == "lite"
        assert CommandContext(opened, None, usual="lite").chosen("lite").spec.name == "tiny"


def test_the_model_of_an_index_is_taken_with_its_precision() -> None:
    with options.RunOptions(backbone="lite").open() as opened:
        context = CommandContext(opened, None)
        other = context.like({"backbone": "tiny", "precision": "fp32"}, wholly=True, engine="torch")
        assert (other.backbone, other.opened.options.engine) == ("tiny", "torch")
        assert (context.backbone, context.like({}).backbone) == ("lite", "lite")


def test_files_of_an_earlier_run_are_refused_with_the_flag(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with options.RunOptions().open() as opened:
        with pytest.raises(UsageError, match=r"a\.json exists: give another --out or --overwrite"):
            CommandContext(opened, tmp_path).free("a.json")
        with pytest.raises(UsageError, match="give another groups or --overwrite"):
            CommandContext(opened, None).free_file(tmp_path / "a.json", "groups")
    with options.RunOptions(overwrite=True).open() as opened:
        CommandContext(opened, tmp_path).free("a.json")
