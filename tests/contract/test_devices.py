"""What runs on the CPU runs on a GPU: no system mixes tensors of both. Multiplied over the catalog, on a pretended
GPU.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from diptych.backbones.generators.load import load_maps
from diptych.backbones.sources.load import load
from diptych.core import Ask, Backbone, EditAsk, Kit, Run
from diptych.features.frozen import Headed, head_names
from diptych.features.heads import logits_of
from diptych.methods.edit.clipinverter import CLIPInverter
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.rewrite.uf_fgtg import UFFGTG
from diptych.nn.diffusion.ddim import noise, sample
from diptych.testing.exam import Exam
from diptych.train.loop import train
from diptych.train.pair import PairTrainee
from tests.methods.edit import test_clipinverter, test_galip
from tests.methods.rewrite import test_uf_fgtg
from tests.support.contract import exams_of, on
from tests.support.diffusion import random_diffusion
from tests.support.pretended_gpu import PretendedGPU
from tests.support.small_clip import small_clip
from tests.train.test_pair import FIT, small, squares

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")
VERBS = ("classify", "segment", "detect", "extend", "retrieve", "edit", "audit", "curate", "caption", "rewrite")


def moved(backbone: Any) -> Any:
    backbone.module().to("cuda")
    return backbone


@pytest.fixture(autouse=True)
def gpu() -> Iterator[None]:
    """Have it all run there."""
    with PretendedGPU():
        yield


@pytest.fixture
def vit(tmp_path: Path) -> Backbone:
    return moved(small_clip(tmp_path / "vit"))


def test_the_pretended_gpu_refuses_what_cuda_refuses() -> None:
    net, x = nn.Linear(3, 2).to("cuda"), torch.ones(4, 3)
    on = torch.zeros(3, device="cuda")
    for mixed in (
        lambda: net(x),
        lambda: torch.cat([on, torch.zeros(3)]),
        lambda: torch.zeros(3) * on[0],
        lambda: torch.zeros(3)[on.long()],
        lambda: torch.rand(3, generator=torch.Generator(), device="cuda"),
        lambda: on.normal_(generator=torch.Generator()),
        lambda: on.pin_memory(),
    ):
        with pytest.raises(RuntimeError):
            mixed()
    for read in (on.numpy, lambda: np.asarray(on)):
        with pytest.raises(TypeError, match="to numpy"):
            read()
    net(x.to("cuda")).cpu().sum().backward()
    assert {p.device.type for p in net.parameters()} == {p.grad.device.type for p in net.parameters()} == {"cuda"}
    assert (on + torch.tensor(1.0)).is_cuda
    assert on[torch.tensor([0, 1])].new_zeros(2).is_cuda
    assert not on.cpu().is_cuda


@pytest.mark.filterwarnings("ignore:.* sources have the target's value already")
@pytest.mark.parametrize("exam", on("cuda", *VERBS, rows=("extend",)))
def test_systems_answer_on_the_cpu(exam: Exam) -> None:
    exam.answers_as_its_role_says()


@pytest.mark.parametrize("exam", on("cuda", "pretrain", "finetune", rows=("pretrain", "finetune")))
def test_trainings_run(exam: Exam) -> None:
    exam.answers_as_its_role_says()


def test_a_training_in_bf16_of_several_batches_with_an_average_is_resumed(tmp_path: Path) -> None:
    run = Run(seed=1, device="cuda", workers=0, precision="bf16", out=tmp_path)
    fit = replace(FIT, steps=2, accumulate=2, cached=True, ema=0.5, save_every=1)
    weights = []
    for resume in (False, True):
        trainee = PairTrainee(moved(small()), CLIPLoss(), run)
        assert train(trainee, squares(), fit, run, val=squares(), resume=resume).position.step == 2
        weights.append([p.detach().cpu() for p in trainee.module().parameters()])
        shutil.rmtree(max((tmp_path / "checkpoints").glob("step-*")))
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize("name", ["tiny", "lite"])
def test_heads_learn_alone(name: str) -> None:
    space, run = load(name, device="cuda"), Run(device="cuda", workers=0)
    trainee = PairTrainee(Headed(space), CLIPLoss(), run, learns=head_names(space).__contains__)
    assert train(trainee, squares(10), replace(FIT, steps=1), run).position.step == 1


def test_noise_drawn_on_the_cpu_becomes_pictures() -> None:
    diffusion = random_diffusion(moved(small()))
    start = noise(diffusion, 1, torch.Generator().manual_seed(0))
    assert sample(diffusion, diffusion.encode_text(["a red circle"]), start, steps=2).is_cuda


def test_logits_of_scores_are_on_the_cpu() -> None:
    (exam,) = (exam for slug, exam in exams_of("cuda", "classify") if slug == "zero-shot")
    scores = exam.first.answer
    assert scores.values.numpy().shape == logits_of(scores, exam.backbone).numpy().shape


def test_parts_of_pictures_and_prompts_run(vit: Backbone) -> None:
    run = Run(seed=1, device="cuda", workers=0)
    drawn = test_galip.fitted(vit, run=run).edit(EditAsk("", "a red square"), run)
    assert np.isfinite(drawn.after.numpy()).all()
    kit = Kit({"main": vit, "generator": test_clipinverter.GENERATOR, "maps": load_maps("small")})
    inverter = CLIPInverter(**test_clipinverter.SHORT).fit(kit, test_clipinverter.EVIDENCE, run)
    assert all(np.isfinite(x.numpy()).all() for x in inverter.edit(test_clipinverter.ASK, run).after)
    kit = Kit({"main": vit, "diffusion": random_diffusion(vit)})
    writer = UFFGTG(**test_uf_fgtg.SHORT).fit(kit, test_uf_fgtg.EVIDENCE, run)
    assert writer.write([Ask(about="a red cup", n=1)])
