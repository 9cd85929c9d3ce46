"""Parts beside a backbone are loaded by their names, and missed by name."""

from __future__ import annotations

import pytest

from diptych import catalog
from diptych.backbones.sources.load import load
from diptych.core import UsageError
from diptych.tasks.training.named_parts import named_parts, parts_for


def test_a_teacher_is_a_name_or_a_backbone() -> None:
    tiny = load("tiny")
    kit = named_parts("cpu", teacher=tiny, scorer="tiny")
    assert kit["teacher"] is tiny
    assert kit["scorer"].fingerprint == tiny.fingerprint


def test_a_part_that_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match=r"laclip draws among rewrites: give rewrites POOL\.json"):
        parts_for(catalog.find("laclip").card, "cpu")
    assert parts_for(catalog.find("clip-loss").card, "cpu") == {}
