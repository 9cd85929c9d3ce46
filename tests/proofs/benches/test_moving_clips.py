"""The proof of clips on the development data, made small; what they show stands in results/."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from diptych.core import NotAvailable, Run
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.extend import shots
from diptych.methods.extend.frame_mean import FrameMean
from diptych.methods.extend.vifi_clip import ViFiCLIP
from proofs.benches import moving_clips
from proofs.benches.moving_clips import NEW_CLASSES, Direction, compose, open_clips, shuffled_texts
from proofs.extend import TRIALS
from proofs.trial import Claim
from tests.support.proofs import judged
from tests.support.visual_backbone import VisualBackbone

SEEDS = (1, 2, 3)
HEADS = ViFiCLIP(tunes="heads", frames=2, epochs=2)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SIDE": 32, "POOL": 4, "TEST": 2, "TEST_NEW": 1, "PLAYED": 2, "SHOTS": 2, "FRAMES": 2}.items():
        monkeypatch.setattr(moving_clips, name, value)


def test_clips_of_train_and_test_share_no_thing_and_no_photo(data_root: Path, small: None) -> None:
    data = compose(str(data_root / "tuxpaint_stamps"), 2)
    assert data.hash == compose(str(data_root / "tuxpaint_stamps"), 2).hash
    plans: Any = [t.items.plan for t in (data.train, data.test, data.new)]  # type: ignore[attr-defined]
    for what in ("sprite", "backdrop"):
        train, *tests = ({getattr(p, what) for p in plan} for plan in plans)
        assert not train & set.union(*tests)
    run = Run(seed=1)
    drawn = shots(data.train, 2, run)
    texts = list(drawn.columns["captions"].values)
    assert {texts.count(t) for t in texts} == {2}
    spoiled = shuffled_texts(drawn, run).columns["captions"].values
    assert sorted(spoiled) == sorted(texts) != list(spoiled)


def test_the_proof_of_clips_holds_what_is_written(data_root: Path, small: None) -> None:
    image = Arm(replace(HEADS, towers="image"))
    trial = replace(
        TRIALS["vifi-clip"],
        arm=Arm(HEADS),
        controls=(
            Claim("chance", arm=Arm(Direction(HEADS)), base=Arm(Direction("chance")), name="forwards or backwards"),
        ),
        beside={
            "new classes: frame mean": Claim("frame-mean", part=NEW_CLASSES),
            "image head alone": image,
            "new classes: image head alone": Claim("image head", base=image, part=NEW_CLASSES),
        },
    )
    judgement = judged(trial, "vifi-clip", str(data_root / "tuxpaint_stamps"), VisualBackbone(), Run(), SEEDS)
    (claim,) = judgement["claims"]
    assert claim["over"] == "frame-mean"
    assert {"acc1", "ci95"} <= set(claim["method"])
    assert [c["name"] for c in judgement["controls"]] == ["shuffled texts", "forwards or backwards"]
    assert judgement["controls"][1]["control"]["acc1"] == 0.5
    assert judgement["controls"][1]["failed"]
    assert [b["name"] for b in judgement["beside"]] == [
        "new classes: frame mean",
        "image head alone",
        "new classes: image head alone",
    ]


def test_real_clips_are_counted(data_root: Path, small: None) -> None:
    trial = replace(TRIALS["vifi-clip"], bench=partial(open_clips, counted=(HEADS, FrameMean(2))))
    judgement = judged(trial, "vifi-clip", str(data_root / "exercise_pairs"), VisualBackbone(), Run(), SEEDS)
    assert (judgement["items"], judgement["claims"]) == (41, [])
    assert len(judgement["right"]["vifi-clip"]) == 3
    assert len(judgement["right"]["frame-mean"]) == 1
    with pytest.raises(NotAvailable, match="absent"):
        judged(trial, "vifi-clip", str(data_root / "absent"), VisualBackbone(), Run(), SEEDS)
