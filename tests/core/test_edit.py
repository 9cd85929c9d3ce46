from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.core import EditAsk, Takes, UsageError
from tests.support.pictures import Pictures, picture

PHOTOS = Pictures((picture(0, 0),))


def test_a_request_begins_with_one_thing() -> None:
    assert EditAsk("", "a cat").start == "nothing"
    assert EditAsk("", "a cat", images=PHOTOS).start == "pictures"
    assert EditAsk("", "a cat", clips=PHOTOS).start == "clips"
    with pytest.raises(UsageError, match="images and clips"):
        EditAsk("", "a cat", images=PHOTOS, clips=PHOTOS)
    with pytest.raises(UsageError, match="strength=-1"):
        EditAsk("", "a cat", strength=-1)
    with pytest.raises(UsageError, match="count=0"):
        EditAsk("", "a cat", count=0)


@pytest.mark.parametrize(
    ("takes", "ask", "said"),
    [
        ({"start": ("clips",)}, {"images": PHOTOS}, "begins with clips, not with pictures"),
        ({"start": ("nothing",)}, {"images": PHOTOS}, "begins with words alone"),
        ({"source": True}, {"source": ""}, "what is there"),
        ({}, {"target": ()}, "target none"),
        ({}, {"target": ("a", " ")}, "' '"),
        ({"targets": 2}, {"target": ("a", "b", "c")}, "2 target text at once, got 3"),
        ({"reference": "must"}, {}, "needs a reference picture"),
        ({}, {"reference": Image.new("RGB", (2, 2))}, "takes no reference picture"),
        ({"masks": "must"}, {}, "needs a mask"),
        ({}, {"masks": [np.ones((2, 2), bool)]}, "takes no mask"),
        ({"strength": False}, {"strength": 2.0}, "no strength to choose, got 2"),
        ({}, {"threshold": 0.5}, "no threshold, got 0.5"),
    ],
)
def test_what_an_editor_does_not_read_is_refused(takes: dict[str, Any], ask: dict[str, Any], said: str) -> None:
    given = {"source": "a dog", "target": "a cat", "images": PHOTOS, **ask}
    with pytest.raises(UsageError, match=said):
        Takes(**{"start": ("pictures",), **takes}).check(EditAsk(**given), "Some editor")


def test_what_it_reads_passes() -> None:
    takes = Takes(("pictures",), source=False, targets=None, reference="may", masks="may", threshold=True)
    takes.check(EditAsk("", ("a", "b", "c"), images=PHOTOS, strength=0.5, threshold=0.1), "Some editor")
