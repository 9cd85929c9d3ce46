"""The bench of composed scenes, with a small random CLIP and few scenes: the bench, not the claims."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diptych.backbones.sources.openclip import OpenClip
from diptych.core import MissingHook, Run, UsageError
from diptych.data.scenes.compose import SceneRecipe, Scenes
from diptych.data.scenes.tables import scene_table
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.tune import BEFORE, Training
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.long_clip import LongCLIP
from proofs.benches.training import scene_pairs
from proofs.benches.training.scene_pairs import (
    FILLER,
    OTHER_ENDS,
    PAIRS,
    SHORT,
    WHOLE,
    NewTowers,
    late,
    open_long_captions,
    open_scene_pairs,
    permuted_ends,
)
from tests.support.colours import ColourBackbone
from tests.support.small_clip import small_clip

RUN, SEEDS = Run(workers=1), (1, 2)
FEW = replace(WHOLE, batch=8, steps=2)


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenClip:
    monkeypatch.setattr(scene_pairs, "SIZES", {"train": 16, "test": 8})
    monkeypatch.setattr(scene_pairs, "FURTHER", FEW)
    backbone = small_clip(tmp_path / "clip")
    assert isinstance(backbone, OpenClip)
    return backbone


def test_new_towers_are_drawn_by_the_seed_in_the_same_architecture(clip: OpenClip) -> None:
    one, two, three = (NewTowers()(clip, Run(seed=s)) for s in (1, 1, 2))
    assert one.fingerprint == two.fingerprint
    assert len({one.fingerprint, three.fingerprint, clip.fingerprint}) == 3
    shapes = [{n: p.shape for n, p in b.module().named_parameters()} for b in (one, clip)]
    assert shapes[0] == shapes[1]
    assert NewTowers(prepare=lambda space: clip)(clip, Run()) is clip
    with pytest.raises(MissingHook, match="cannot be built anew"):
        NewTowers()(ColourBackbone(), Run())


def test_whole_towers_learn_scenes_and_are_measured_on_others(clip: OpenClip) -> None:
    bench = open_scene_pairs("scenes", clip, RUN, SEEDS, fit=FEW)
    assert (bench.facts["train"], bench.facts["items"]) == (16, 8)
    keys = [{t.items.key(i) for i in range(len(t))} for t in (bench.train, bench.held_out)]
    assert not keys[0] & keys[1]
    measured = bench.measure(Arm(Training(CLIPLoss(), start=NewTowers())))
    assert measured.part("recall_at_1").values.shape == (2, 8)


def test_what_tells_a_long_caption_apart_comes_late(clip: OpenClip) -> None:
    scenes = Scenes(PAIRS, 3)
    for i in range(3):
        (text,) = late(scenes[i])
        first, end = text.split(f" {FILLER} ")
        assert first.startswith("A picture of a")
        assert end == f"It shows {scenes[i].captions['short']}."
        with pytest.raises(UsageError):  # the words before the end fill the context of 77 alone
            clip.text.inputs([f"{first} {FILLER}"])


def test_permuted_ends_keep_the_first_sentences() -> None:
    table = scene_table(Scenes(SceneRecipe(objects=(2,)), 12), late)
    spoilt = permuted_ends(table, Run(seed=1))
    before, after = ([own[0].split(f" {FILLER} ") for own in t.columns["captions"].values] for t in (table, spoilt))
    assert [b[0] for b in before] == [a[0] for a in after]
    assert sorted(b[1] for b in before) == sorted(a[1] for a in after)
    assert before != after


def test_long_and_short_captions_of_the_same_scenes_are_measured(clip: OpenClip) -> None:
    bench = open_long_captions("scenes", clip, RUN, SEEDS)
    before = bench.measure(BEFORE)
    assert before.part("recall_at_1").values.shape == before.part(SHORT).values.shape == (2, 8)
    cut = before.part("recall_at_1").values
    assert (before.part(OTHER_ENDS).values == cut).all()  # the backbone truncates, so it reads no end
    with pytest.warns(UserWarning, match="principal components"):
        longer = bench.trained(Training(LongCLIP()), RUN).space
    positions = longer.module().positional_embedding  # type: ignore[union-attr]
    assert isinstance(positions, torch.Tensor)
    assert len(positions) == 248
    with pytest.raises(MissingHook, match="measured on open_clip models"):
        open_long_captions("scenes", ColourBackbone(), RUN, SEEDS)
