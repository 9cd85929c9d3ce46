from __future__ import annotations

import pytest

from diptych.serve.names import Recent, class_names
from diptych.serve.refusals import Refusal


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    kept: Recent[int] = Recent(2)
    assert kept.get_or_make("a", lambda: 1) == kept.get_or_make("a", lambda: 9) == 1
    kept.put("b", 2)
    kept.get("a")
    kept.put("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)


def test_names_are_stripped_and_bounded() -> None:
    assert class_names([" cat ", "dog"], None).names == ("cat", "dog")
    assert class_names(["cat"], ["a {}."]).templates == ("a {}.",)
    with pytest.raises(Refusal, match="at most 1000"):
        class_names([str(i) for i in range(1001)], None)
