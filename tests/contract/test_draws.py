"""A card that says that the seed decides something is right: other seeds give other fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diptych import catalog
from diptych.core import Column, Detector, Evidence, Kit, Run, Table
from diptych.methods.detect.feature_memory import FeatureMemory
from diptych.methods.detect.patch_memory import PatchMemory
from diptych.testing.backbones import small_clip
from tests.support.fitted_state import state_of
from tests.support.scratches import scratched


@pytest.mark.parametrize("method", [FeatureMemory(cells=24, side=64), PatchMemory()], ids=lambda m: m.card.slug)
def test_memories_are_drawn_by_the_seed(method: Detector) -> None:
    taught = scratched(0, 24, seed=1).items  # scratched, so that the cells of a photo differ
    many: Evidence[Any] = Evidence(Table(taught, {"label": Column("label", np.zeros(24, dtype=np.int64))}))
    states = [state_of(method.fit(Kit({"main": small_clip()}), many, Run(seed=seed))) for seed in (5, 6)]
    assert method.card.seeded
    assert states[0] != states[1]


@pytest.mark.parametrize(("slug", "seeded"), [("even-prior", False), ("linear-probe", False), ("coop", True)])
def test_what_trains_is_seeded_unless_its_problem_is_convex(slug: str, seeded: bool) -> None:
    assert catalog.find(slug).card.seeded == seeded
