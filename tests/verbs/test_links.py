from __future__ import annotations

from typing import Any

from diptych.core import Texts
from diptych.data.records.records import Records
from diptych.tasks.link import Link, Linked
from diptych.verbs.links import Links

LABELLED = {"pairs": 10.0, "val": 10.0, "nearest_right": 1.0, "linked": 0.0, "precision": 0.0, "recall": 0.0}


def linked(*links: Link, threshold: float | None = None, labelled: dict[str, float] | None = None) -> Linked:
    nothing: Any = Texts([])
    left, right = (Records(("1", "2"), nothing, (None, None), ("one", "two")) for _ in range(2))
    return Linked(links, left, right, threshold, "string-matching", labelled or {})


def test_labelled_records_say_whether_they_chose_the_threshold() -> None:
    result = linked(threshold=0.5, labelled=LABELLED)
    for chosen, one_to_one, words in (
        (True, True, "one-to-one links from the threshold 0.5000 on, which they chose, precision of no link"),
        (False, False, "; from the threshold 0.5000 on, precision of no link, recall 0 % [0, 28]"),
    ):
        (line,) = Links(result, chosen=chosen, one_to_one=one_to_one).remarks(result.links)
        assert words in line
        assert "the nearest is right for 100 % [72, 100]" in line
