from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from diptych.core import Ask, DataError, Text, UsageError
from diptych.tasks.rewrite import read_prompts, rewrite


class Longer:
    """Writes a prompt with numbers behind it."""

    def write(self, asks: Sequence[Ask], /) -> list[list[Text]]:
        return [[Text(f"{ask.about} number {i}") for i in range(ask.n)] for ask in asks]


def test_prompts_are_lines_of_files_or_texts(tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("a dog\n\n a cat \n")
    assert read_prompts([str(tmp_path / "some.txt"), "a cup"]) == ("a dog", "a cat", "a cup")
    (tmp_path / "none.txt").write_text("\n")
    with pytest.raises(DataError, match="no prompts"):
        read_prompts([str(tmp_path / "none.txt")])
    with pytest.raises(UsageError, match="There is no prompt: give one"):
        read_prompts([""])
    with pytest.raises(UsageError, match="missing"):
        read_prompts(["missing.txt"])


def test_rewrites_stand_under_their_prompts() -> None:
    found = rewrite(Longer(), ("a dog", "a cat"), choices=2)
    assert found.of_prompts()[1] == ("a cat number 0", "a cat number 1")
    assert found.of_prompts()[1].as_dict() == {"prompt": "a cat", "rewrites": ["a cat number 0", "a cat number 1"]}
    assert found.distinct == pytest.approx(6 / 12)  # a dog, dog number, a cat, cat number, number 0, number 1
    with pytest.raises(UsageError, match="no prompt"):
        rewrite(Longer(), ())
