"""Towers that are trained in less memory compute what they did before, but for patches that are left out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.eva import Eva
from torch import nn

from diptych.backbones.sources.load import load
from diptych.core import Clock, MissingHook, Run, UsageError
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.train.memory import Saving, drop_patches, read_all_patches
from diptych.train.pair import PairTrainee
from tests.support.backbone import SmallBackbone
from tests.train.test_pair import COLOURS, Squares, small

RUN = Run(workers=0)


def gradients(saving: Saving) -> dict[str, torch.Tensor]:
    trainee = PairTrainee(saving.of(small()), CLIPLoss(), RUN)
    trainee.module().train()
    texts = [f"a {name} square" for name in COLOURS]
    batch = trainee.collate([{"image": Squares(5)[i], "text": texts[i]} for i in range(5)])
    torch.manual_seed(0)
    sum(trainee.losses(batch, "main", Clock(0, 1, 0, torch.Generator())).values()).backward()
    return {n: p.grad for n, p in trainee.module().named_parameters() if p.grad is not None}


def test_activations_that_are_computed_again_give_the_same_gradient() -> None:
    plain, again = gradients(Saving()), gradients(Saving(recompute=True))
    assert plain.keys() == again.keys()
    for name, g in plain.items():
        torch.testing.assert_close(again[name], g)


def test_a_backbone_of_towers_of_two_libraries_keeps_less_for_the_same_gradient() -> None:
    lite, kept, found = load("lite"), [], []
    pictures = [Squares(2)[i] for i in range(2)]
    for space in (lite, Saving(recompute=True).of(lite)):
        module: Any = space.module().double()  # in float32 one gradient of a convolution differs by its rounding
        module.train()
        torch.manual_seed(0)  # of dropout
        bytes_kept = [0]

        def count(t: torch.Tensor, total: list[int] = bytes_kept) -> torch.Tensor:
            total[0] += t.numel() * t.element_size()
            return t

        with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
            x = space.image.encode(space.image.inputs(pictures).double())
            loss = (x * space.text.encode(space.text.inputs(["a red square", "a blue one"]))).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        kept.append(bytes_kept[0])
        found.append({n: p.grad for n, p in module.named_parameters() if p.grad is not None})
        module.eval()
    assert kept[1] < kept[0] / 3
    assert found[0].keys() == found[1].keys()
    for name, g in found[0].items():
        torch.testing.assert_close(found[1][name], g)  # to 1e-7, and not 1.3e-6 as in float32


def test_patches_are_left_out_in_training_alone() -> None:
    plain, fewer = gradients(Saving()), gradients(Saving(patch_dropout=0.5))
    assert not torch.allclose(plain["space.visual.conv1.weight"], fewer["space.visual.conv1.weight"])
    space, saving = small(), Saving(patch_dropout=0.5)
    taught = saving.of(space)
    pixels = space.image.inputs([Squares(2)[0]])
    with torch.no_grad():
        assert torch.equal(taught.image.encode(pixels), space.image.encode(pixels))  # in eval mode
        taught.module().train()
        torch.manual_seed(0)
        assert not torch.equal(taught.image.encode(pixels), space.image.encode(pixels))
        saving.undo(taught)
        torch.testing.assert_close(taught.image.encode(pixels), space.image.encode(pixels))


def test_a_trunk_that_asks_which_patches_are_left_is_told_and_has_none_afterwards() -> None:
    trunk = Eva(
        img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=0,
        use_rot_pos_emb=True, use_abs_pos_emb=False,
    )  # fmt: skip
    tower = nn.Module()
    tower.visual = nn.Module()
    tower.visual.trunk = trunk.eval()
    space = SmallBackbone()
    space.module = lambda: tower  # type: ignore[method-assign]
    space.rebuild = lambda module, spec: module.eval()  # type: ignore[method-assign, assignment, return-value]
    taught: Any = drop_patches(space, 0.5)
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        whole = trunk(pixels)
        torch.testing.assert_close(taught.visual.trunk(pixels), whole)
        taught.train()
        assert taught.visual.trunk.forward_features(pixels).shape[1] == 1 + 8, "of 16 patches and the class token"
        read_all_patches(taught)
        assert taught.visual.trunk.patch_drop is None
        torch.testing.assert_close(taught.visual.trunk(pixels), whole)
    read_all_patches(tower)
    assert trunk.patch_drop is None


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(UsageError, match=r"in \(0, 1\), got 1"):
        drop_patches(small(), 1.0)
    with pytest.raises(MissingHook, match="no ViT"):
        drop_patches(SmallBackbone(), 0.5)
    with pytest.raises(MissingHook, match="cannot be computed again"):
        Saving(recompute=True).of(SmallBackbone())
