"""What systems that look twice share: no second look is right more often than the first one's candidates allow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from diptych.core import ClassNames, Evidence, Kit, Run, Scores, Table
from diptych.data.words.templates import SINGLE
from diptych.methods.classify.zero_shot import ZeroShot


def check_ceiling(
    fitted: Any, names: ClassNames, evidence: Evidence[Any], test: Table[Any], k: int, kit: Kit, run: Run
) -> None:
    """Check that ``ceiling`` is the top-k accuracy of the plain names, which a second look that is always right just
    reaches.
    """
    first = ZeroShot(SINGLE).fit(kit, names, evidence, run).scores(test.items, run).values.numpy()
    labels = test.labels()
    top = np.mean([label in np.argsort(-row, kind="stable")[:k] for row, label in zip(first, labels, strict=True)])
    assert fitted.ceiling(test, run) == pytest.approx(top)
    assert top < 1 or k == len(names), "some class must lie outside the candidates"
    scores = fitted.scores(test.items, run)
    right = torch.nn.functional.one_hot(torch.tensor(labels), len(names)).float()
    assert (Scores(right, "cosine", scores.candidates).predicted().numpy() == labels).mean() == pytest.approx(top)
    assert (scores.predicted().numpy() == labels).mean() <= top
