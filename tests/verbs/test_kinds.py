from __future__ import annotations

import pytest

from diptych.core import UsageError
from diptych.verbs import kinds


@pytest.mark.parametrize("given", ["sky, wall", ["sky", "wall"], ("sky ", " wall"), "sky,,wall,", "sky\nwall\n"])
def test_words_mean_the_same_on_every_face(given: object) -> None:
    assert kinds.WORDS.read(given) == ("sky", "wall")


def test_numbers_are_whole() -> None:
    assert kinds.NUMBERS.read("0, 255") == kinds.NUMBERS.read([0, 255]) == (0, 255)
    assert kinds.NUMBERS.read(None) == ()
    with pytest.raises(UsageError, match="not 'red'"):
        kinds.NUMBERS.read("0, red")


def test_settings_are_pairs_or_a_mapping() -> None:
    assert kinds.SETTINGS.read(["epochs=3", "form = a=b"]) == {"epochs": "3", "form": "a=b"}
    assert kinds.SETTINGS.read({"epochs": 3}) == {"epochs": 3}
    with pytest.raises(UsageError, match="NAME=VALUE"):
        kinds.SETTINGS.read(["epochs"])


def test_one_word_names_a_file_of_templates_on_the_command_line_alone() -> None:
    assert kinds.TEMPLATES.typed(["prompts.txt"]) == "prompts.txt"
    assert kinds.TEMPLATES.typed(["a {}"]) == ["a {}"]
    assert kinds.TEMPLATES.read(["prompts.txt"]) == ["prompts.txt"]  # a request never names a file
