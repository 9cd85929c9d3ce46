from __future__ import annotations

from typing import Any

import pytest

from diptych.serve.protocols.label_config import KINDS
from diptych.serve.protocols.label_studio_answers import Result
from tests.serve.test_answers import has_form

VALUES: dict[str, dict[str, Any]] = {
    "choices": {"choices": ["Red"]},
    "brushlabels": {"format": "rle", "rle": [1, 2], "brushlabels": ["Red"]},
    "rectanglelabels": {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "rotation": 0.0, "rectanglelabels": ["Red"]},
}


@pytest.mark.parametrize("kind", KINDS.values())
def test_results_of_every_kind_of_control_are_described(kind: str) -> None:
    result = {"from_name": "a", "to_name": "i", "type": kind, "value": VALUES[kind], "score": 0.5}
    assert has_form(result, Result)
    assert has_form({**result, "original_width": 4, "original_height": 3, "image_rotation": 0}, Result)
    assert not has_form({**result, "value": {**VALUES[kind], "more": 1}}, Result)
