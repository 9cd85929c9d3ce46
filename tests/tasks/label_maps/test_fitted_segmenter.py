from __future__ import annotations

import pytest

from diptych.core import ClassNames, UsageError
from diptych.features.artefacts import About
from diptych.tasks.label_maps.fitted_segmenter import names_of_folder, parts_of_folder, templates_of_folder

NAMED = ClassNames(("cat", "dog"), ("a {}.",))


def test_names_and_background_are_those_of_the_folder() -> None:
    about = About("maskclip", facts={"named": NAMED, "background": ("sky",)})
    assert names_of_folder(about) == (NAMED, ("sky",))
    assert names_of_folder(about, ("wall",)) == (NAMED, ("wall",))
    assert names_of_folder(About("maskclip", classes=("cat", "dog")))[0].names == ("cat", "dog")
    with pytest.raises(UsageError, match="names no classes: give names"):
        names_of_folder(About("maskclip"))


def test_prompts_are_those_of_the_folder() -> None:
    assert templates_of_folder(About("maskclip", facts={"named": NAMED})) == ("a {}.",)
    assert templates_of_folder(About("maskclip", classes=("cat",))) is templates_of_folder(None) is None


def test_parts_are_those_of_the_folder_unless_the_user_names_others() -> None:
    usual, about = {"proposer": "auto"}, About("ovseg", facts={"proposer": "merged-cells"})
    assert parts_of_folder(about, usual, usual) == {"proposer": "merged-cells"}
    assert parts_of_folder(about, {"proposer": "ranked-cells"}, usual) == {"proposer": "ranked-cells"}
    assert parts_of_folder(None, usual, usual) == usual
