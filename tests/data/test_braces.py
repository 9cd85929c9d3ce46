from __future__ import annotations

import braceexpand
import pytest

from diptych.data.braces import expand_braces


@pytest.mark.parametrize("pattern", ["a{00..12}.tar", "a{8..11}.tar", "a{008..011}{x,y}.tar", "plain.tar", "{3..1}"])
def test_braces_as_braceexpand(pattern: str) -> None:
    assert sorted(expand_braces(pattern)) == sorted(braceexpand.braceexpand(pattern))
