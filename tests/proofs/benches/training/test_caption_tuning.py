"""The proof of LLM2CLIP with few captions and steps: the bench, not the claim."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diptych.core import Row, Run
from diptych.evaluation.arms import Arm
from diptych.methods.pretrain.llm2clip import LLM2CLIP
from proofs.benches.training.caption_tuning import (
    LLM2CLIP_TRIAL,
    OWN,
    TUNED,
    WORDS,
    ItselfTuning,
    PermutedTuning,
    SmallLanguageModel,
    next_words,
)
from proofs.benches.training.pairs import FRESH
from tests.support.proofs import judged
from tests.support.small_clip import small_clip

RUN = Run(workers=1)
CAPTIONS = ["a red dog runs", "a red cat sits", "the dog sits", "the cat runs"] * 4
FEW = replace(WORDS, batch=8, steps=60, lr=1e-2)


def test_the_language_model_predicts_next_words() -> None:
    text = next_words(CAPTIONS, RUN, FEW)
    (ids,) = text.ids(["a red dog runs"])
    x = torch.tensor([ids])
    with torch.no_grad():
        logits, _ = text.lm.logits(text.lm.embed(x), torch.ones_like(x))  # type: ignore[attr-defined]
    assert logits[0, 1].argmax().item() == ids[2]  # only "red" follows "a"
    assert text.encode(text.inputs(["a dog", "cat"])).shape == (2, 64)
    assert not any(p.requires_grad for p in text.network.parameters())


def test_permuted_captions_are_those_of_all_images() -> None:
    pytest.importorskip("peft")
    captions = (("a", "b"), ("c", "d", "e"), ("f", "g"))
    mixed = PermutedTuning(**vars(TUNED)).seen(captions, RUN)
    assert [len(own) for own in mixed] == [2, 3, 2]
    assert sorted(t for own in mixed for t in own) == list("abcdefg")
    assert mixed != captions == TUNED.seen(captions, RUN)


def test_a_caption_is_paired_with_itself_and_the_others_stay() -> None:
    pytest.importorskip("peft")
    captions = (("a red dog runs", "a red cat sits"), ("the dog sits", "the cat runs"))
    language = next_words(CAPTIONS, RUN, replace(FEW, steps=1))
    row = Row("x", 1, "key")
    own, spoiled = (
        kind(**vars(TUNED)).tuning(language, captions, RUN).views(row, RUN.generator("views"))
        for kind in (LLM2CLIP, ItselfTuning)
    )
    assert own["query"] == spoiled["query"] == spoiled["same"] != own["same"]
    assert own["other"] == spoiled["other"] in captions[0]


def test_the_bench_measures_every_arm_with_one_language_model(captioned: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    made = SmallLanguageModel(replace(FEW, steps=3))
    fit = replace(FRESH, batch=8, steps=2)
    own = replace(OWN, kit=made, fit=fit, method=replace(TUNED, steps=2))
    small = replace(own, method=replace(own.method, tune=False))
    claim = replace(LLM2CLIP_TRIAL.claims[0], base=Arm(small))
    trial = replace(LLM2CLIP_TRIAL, claims=(claim,), arm=Arm(own), controls=(), beside={})
    verdict = judged(trial, "llm2clip", str(captioned), small_clip(tmp_path / "clip"), RUN, (1, 2, 3))
    (claimed,) = verdict["claims"]
    assert claimed["method"]["recall_at_5"] == pytest.approx(claimed["baseline"]["recall_at_5"] + claimed["gain"])
    assert len(made.tuned_models) == 1
