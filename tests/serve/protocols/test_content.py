from __future__ import annotations

import numpy as np
import pytest

from diptych.serve.protocols.content import content_of, joined
from diptych.serve.refusals import Refusal


def test_parts_of_an_input_become_the_unit_vector_of_their_sum() -> None:
    vectors = np.eye(3, dtype=np.float32)
    rows = joined(vectors, [1, 2])
    assert np.array_equal(rows[0], vectors[0])
    assert np.allclose(rows[1], [0, 0.5**0.5, 0.5**0.5])


def test_a_content_is_a_text_or_a_list_of_parts() -> None:
    assert [part.value for part in content_of({"content": "a cat"}, "x")] == ["a cat"]
    assert [part.value for part in content_of({"content": [{"type": "text", "text": "a"}]}, "x")] == ["a"]
    for content in (None, "", [], [3], [{"type": "audio"}], [{"type": "text", "text": ""}]):
        with pytest.raises(Refusal, match=r"^x has"):
            content_of({"content": content}, "x")
