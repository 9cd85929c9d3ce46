"""The proof of captioners with users: constructed writers, and the path on coloured pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diptych.core import Run
from diptych.methods.caption.user_aware_prefix import UserAwarePrefix
from proofs.benches import writers as w
from proofs.caption import TRIALS
from tests.support.colours import ColourBackbone

SMALL = UserAwarePrefix(
    tokens="pooled", words=4, queries=2, mapping=1, fusion=1, lm_width=8, layers=1, limit=12, lm_epochs=1, epochs=1
)


def test_writers_differ_and_reword_whole_words_alone() -> None:
    drawn = w.writers(np.random.default_rng(0))
    assert len({(d.opening, d.ending, *d.words.values()) for d in drawn}) == w.WRITERS
    own = w.Writer("here we see", "", {"man": "guy", "dog": "hound"})
    assert own.reword("A man, a woman and a dog .") == "here we see a guy a woman and a hound"
    assert w.Writer("", "", {}).reword("A cat .") == "a cat"


def test_every_arm_of_the_trial_is_measured(captioned: Path) -> None:
    arms = {"user-aware-prefix": SMALL, "no users": SMALL}
    bench = w.open_writers(str(captioned), ColourBackbone(), Run(), (1, 2, 3), arms=arms, count=3)
    assert bench.table["nobody"].shape == (3, 12)
    assert bench.facts["posts"] == 36
    assert bench.table["chance"][0, 0] == 1 / 3
    verdict = TRIALS["user-aware-prefix"].judge("user-aware-prefix", str(captioned), bench)
    assert [c["name"] for c in verdict["claims"]] == ["the writer is told", "cider_d"]
    assert [c["over"] for c in verdict["controls"]] == ["chance", "no users", "no users"]
