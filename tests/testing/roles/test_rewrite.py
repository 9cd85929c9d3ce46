from __future__ import annotations

import pytest

from diptych.core import Text
from diptych.methods.rewrite.uf_fgtg import UFFGTG
from diptych.testing import ContractBroken
from diptych.testing.parts import Echo
from diptych.testing.roles.rewrite import RewriterExam
from tests.support.answers import answered


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([[Text("a")]], "2 texts get 1 answers"),
        ([[], [Text("a")] * 2], "more than wanted"),
        ([[], ["a"]], "a wording is no Text"),
    ],
)
def test_wordings_that_are_none_are_refused(answer: object, message: str) -> None:
    with pytest.raises(ContractBroken, match=message):
        answered(RewriterExam(UFFGTG), answer, Echo()).answers_as_its_role_says()
