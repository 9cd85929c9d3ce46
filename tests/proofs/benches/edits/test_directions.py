"""The proof of directions on the development data, made small; what it shows stands in results/."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from diptych.core import Run
from diptych.evaluation.arms import Arm
from diptych.methods.extend.ila import ILA
from proofs.benches.edits.directions import (
    FRAMES,
    OPPOSITES,
    PAIRS,
    TEXTS,
    UNORDERED,
    WithoutAlignment,
    open_directions,
    shuffled_frames,
)
from proofs.extend import TRIALS
from proofs.trial import Claim
from tests.support.proofs import judged
from tests.support.small_clip import small_clip
from tests.support.visual_backbone import VisualBackbone

SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Reversed:
    """Clips that are played backwards."""

    clips: Any

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int, /) -> Any:
        return self.clips[index][::-1]


FEW: dict[str, Any] = {"frames": FRAMES, "hidden": 16, "sampling": "middle", "epochs": 2, "batch": 8, "rate": 1e-2}


def test_clips_of_train_and_test_share_no_thing_and_no_photo(data_root: Path) -> None:
    bench = open_directions(str(data_root / "tuxpaint_stamps"), VisualBackbone(), Run(), SEEDS, things=(3, 2))
    plans: Any = [bench.data.train.items.plan, bench.data.tests[""][0].items.plan]  # type: ignore[attr-defined]
    for what in ("sprite", "backdrop"):
        train, test = ({getattr(p, what) for p in plan} for plan in plans)
        assert not train & test
    assert [p.motion for p in plans[0]] == [m for m in TEXTS for _ in range(3)]
    table = bench.data.train
    spoiled = shuffled_frames(table, Run(seed=1))
    assert spoiled.columns is table.columns
    for i in range(len(table)):
        assert sorted(f.tobytes() for f in spoiled.items[i]) == sorted(f.tobytes() for f in table.items[i])
    assert spoiled.items.key(0) != table.items.key(0)
    for pair, test in zip(PAIRS, bench.data.tests[OPPOSITES], strict=True):
        assert test.texts == tuple(TEXTS[way] for way in pair)
        assert test.answers.tolist() == [0, 0, 1, 1]


def test_the_proof_holds_what_is_written(data_root: Path) -> None:
    alone = Arm(WithoutAlignment(**FEW))
    trial = replace(
        TRIALS["ila"],
        claims=(Claim("chance"), Claim("integration alone", base=alone), Claim("chance", part=OPPOSITES)),
        arm=Arm(ILA(**FEW)),
        controls=(Claim("chance", arm=Arm(ILA(**FEW), spoil=shuffled_frames), part=OPPOSITES),),
        beside={"integration alone": Claim("chance", arm=alone)},
        bench=partial(open_directions, things=(3, 2)),
    )
    judgement = judged(trial, "ila", str(data_root / "tuxpaint_stamps"), VisualBackbone(), Run(workers=1), SEEDS)
    assert (judgement["items"], judgement["clips"], judgement["classes"]) == (8, 20, 4)
    assert [c["over"] for c in judgement["claims"]] == ["chance", "integration alone", "chance"]
    assert judgement["claims"][0]["baseline"]["acc1"] == 0.25
    assert judgement["claims"][2]["baseline"]["acc1_of_opposites"] == 0.5
    assert len(judgement["controls"]) == 1


def test_a_head_on_frames_without_order_cannot_tell_forwards_from_backwards(tmp_path: Path, data_root: Path) -> None:
    clip = small_clip(tmp_path / "clip")
    bench = open_directions(str(data_root / "tuxpaint_stamps"), clip, Run(workers=1), SEEDS, things=(12, 6))
    measured = bench.measure(Arm(UNORDERED))
    assert measured.values.shape == measured.part(OPPOSITES).values.shape == (3, 24)
    reverse = replace(bench.data.train, items=Reversed(bench.data.train.items))
    turned = replace(bench, data=replace(bench.data, train=reverse)).measure(Arm(UNORDERED))
    assert np.array_equal(turned.values, measured.values)


def test_without_alignment_the_blocks_add_nothing(data_root: Path) -> None:
    bench = open_directions(str(data_root / "tuxpaint_stamps"), VisualBackbone(), Run(workers=1), SEEDS, things=(3, 2))
    from diptych.core import Evidence, Kit

    space = WithoutAlignment(**FEW).fit(Kit({"main": bench.backbone}), Evidence(train=bench.data.train), Run(workers=1))
    for block in space.encoder.net.align:
        assert block.aligned.weight.abs().max() == 0  # type: ignore[union-attr,operator]
