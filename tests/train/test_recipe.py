"""Objectives and recipes through one door: stages, parts, refusals, resume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from diptych.core import (
    Card,
    Evidence,
    Kit,
    MissingEvidence,
    MissingHook,
    MissingPart,
    Needs,
    Recipe,
    Run,
    Space,
    Table,
    Trainee,
    UsageError,
)
from diptych.core.train import Stage, everything
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.coca_loss import CoCaLoss
from diptych.methods.pretrain.quality_captions import QualityCaptions
from diptych.train.captioning import PAD, WordIds
from diptych.train.pair import PairTrainee
from diptych.train.precision import Precision
from diptych.train.recipe import DECODER, WORDS, train_space
from tests.train.test_pair import FIT, RUN, accuracy, small, squares

ROWS = Evidence(train=squares())


@dataclass(frozen=True)
class TwoStages(Recipe):
    """Text first, then all, from what the first stage left."""

    card: ClassVar[Card] = Card(
        "two-stages", "Two", "Two", "https://example.org", 2024, "pretrain", "A claim.", Needs(), "all"
    )

    def stages(self, kit, classes, evidence, run, learns=everything) -> Iterator[Trainee]:
        first = PairTrainee(
            kit.need(Space), CLIPLoss(), run, learns=lambda n: not n.startswith("visual.") and learns(n)
        )
        yield first
        yield PairTrainee(first.trained(), CLIPLoss(), run, learns=learns)


class Scorer(Trainee):
    def module(self): ...
    def groups(self): ...
    def views(self, row, g): ...
    def losses(self, batch, phase, clock): ...


def test_an_objective_trains_pairs_and_leaves_the_space() -> None:
    space = small()
    before = space.fingerprint
    trained = train_space(CLIPLoss(), Kit({"main": space}), ROWS, FIT, RUN)
    assert accuracy(trained.space) > 0.9
    assert trained.parts == {}
    assert len(trained.log) == FIT.steps
    assert space.fingerprint == before


def test_a_later_stage_starts_from_the_earlier(tmp_path) -> None:
    fit, run = replace(FIT, steps=3), replace(RUN, out=tmp_path)
    trained = train_space(TwoStages(), Kit({"main": small()}), ROWS, fit, run)
    assert [r["step"] for r in trained.log] == [1, 2, 3, 1, 2, 3]
    assert (tmp_path / "stage-2" / "log.jsonl").is_file()
    again = train_space(TwoStages(), Kit({"main": small()}), ROWS, fit, run, resume=True)
    assert again.space.fingerprint == trained.space.fingerprint
    with pytest.raises(UsageError, match="resume"):
        train_space(TwoStages(), Kit({"main": small()}), ROWS, fit, run)


def test_only_what_may_learn_changes() -> None:
    space = small()
    trained = train_space(
        CLIPLoss(), Kit({"main": space}), ROWS, replace(FIT, steps=2), RUN, learns=lambda n: n == "text_projection"
    )
    old, new = space.module().state_dict(), trained.space.module().state_dict()
    assert [n for n in old if not torch.equal(old[n], new[n])] == ["text_projection"]


class HalfOnCPU(Precision):
    """Half precision as on a GPU, where products of a CPU have it too."""

    def __init__(self, run: Run) -> None:
        super().__init__(replace(run, precision="fp32"))
        assert run.precision == "fp16"
        self._dtype, self.scaler = torch.float16, torch.amp.GradScaler("cpu", init_scale=2.0**8)


def test_a_training_in_half_precision_embeds_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.train.loop.Precision", HalfOnCPU)
    table = squares()
    rows = Table(table.items, {**table.columns, "original": table.columns["captions"]})
    rows = replace(rows, columns={**rows.columns, "synthetic": table.columns["captions"]})
    method = QualityCaptions(**QualityCaptions.card.variants["scored"])  # it scores captions by the space before
    trained = train_space(method, Kit({"main": small()}), Evidence(train=rows), FIT, replace(RUN, precision="fp16"))
    assert accuracy(trained.space) > 0.9
    assert {p.dtype for p in trained.space.module().parameters()} == {torch.float32}


def test_rows_are_needed() -> None:
    with pytest.raises(MissingEvidence, match="clip-loss needs rows for training"):
        train_space(CLIPLoss(), Kit({"main": small()}), Evidence(), FIT, RUN)


def test_a_trainee_without_a_space_says_so() -> None:
    with pytest.raises(MissingHook, match="Scorer trains no space"):
        Scorer().trained()
    assert Scorer().parts() == {}


def test_captions_need_a_decoder() -> None:
    with pytest.raises(MissingPart, match="LanguageModel named 'decoder'"):
        train_space(CoCaLoss(), Kit({"main": small()}), ROWS, FIT, RUN)


def test_the_decoder_learns_to_write_what_it_sees() -> None:
    from diptych.nn.text.small_lm import SmallLM

    words = WordIds.of([c for own in squares().columns["captions"].values for c in own])
    assert words.ids(["A red square!", "moss"]).tolist() == [
        [1, *words.ids(["a red square"])[0, 1:-1], 3, 2],
        [1, 3, 2, PAD, PAD, PAD],
    ]
    torch.manual_seed(0)
    lm = SmallLM(len(words), width=16, depth=1, heads=2, memory=12)
    kit = Kit({"main": small(), DECODER: lm, WORDS: words})
    trained = train_space(CoCaLoss(pad=PAD), kit, ROWS, replace(FIT, lr=5e-3, steps=40), RUN)
    assert trained.log[-1]["main/caption"] < 0.6 * trained.log[0]["main/caption"]
    assert isinstance(trained.parts["decoder"], nn.Module)


def test_a_caption_beyond_the_context_is_refused() -> None:
    with pytest.raises(UsageError, match="words and marks, with start and end, got 5"):
        WordIds(("a",), context=4).ids(["a a a"])


@dataclass(frozen=True)
class OwnRows(TwoStages):
    """A second stage with rows and settings of its own."""

    def stages(self, kit, classes, evidence, run, learns=everything) -> Iterator[Trainee | Stage]:
        first = PairTrainee(kit.need(Space), CLIPLoss(), run, learns=learns)
        yield first
        yield Stage(
            PairTrainee(first.trained(), CLIPLoss(), run, learns=learns), squares(20), fit={"steps": 2, "lr": 1e-4}
        )


def test_a_stage_has_its_own_rows_and_settings(tmp_path) -> None:
    fit, run = replace(FIT, steps=None, epochs=2, patience=5), replace(RUN, out=tmp_path)
    evidence = Evidence(train=squares(), val=squares(10))
    trained = train_space(OwnRows(), Kit({"main": small()}), evidence, fit, run)
    steps = [r for r in trained.log if "lr" in r]
    assert [r["step"] for r in steps] == [*range(1, 9), 1, 2]
    assert steps[-1]["lr"] < 1e-4 < steps[0]["lr"]
    assert sum("val" in r for r in trained.log) == 2  # of the first stage alone
