from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diptych.core import Evidence, Kit, MissingEvidence, Run
from diptych.methods.retrieve.string_matching import StringMatching, tidy
from tests.support.record_work import records, table
from tests.support.refused import refused


def test_texts_are_tidied_and_records_scored() -> None:
    assert tidy("  Ｆoo\n BAR ") == "foo bar"
    assert tidy(None) == ""
    found, entities = records()
    fitted = StringMatching(measure="jaccard").fit(Kit(), Evidence(val=table(found, entities)), Run())
    assert fitted.threshold is not None
    scores = fitted.against(found, Run())(found).numpy()
    np.fill_diagonal(scores, -1)
    assert (entities[scores.argmax(1)] == entities).mean() > 0.8


def test_a_side_without_texts_does_not_fit() -> None:
    found, _ = records()
    bare = replace(found, texts=(None,) * len(found))
    fitted = StringMatching(measure="jaccard").fit(Kit(), Evidence(), Run())
    with pytest.raises(MissingEvidence, match=f"none of the {len(found)} records to be found has one"):
        fitted.against(bare, Run())
    with pytest.raises(MissingEvidence, match="records asked for has one"):
        fitted.against(found, Run())(bare)
    some = replace(found, texts=(*found.texts[:1], *(None,) * (len(found) - 1)))
    assert fitted.against(some, Run())(found).shape == (len(found), len(found))


def test_bad_input_is_named() -> None:
    refused(StringMatching, {"measure": "soundex"}, {"n": 0})
