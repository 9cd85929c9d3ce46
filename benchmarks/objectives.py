"""One step of training on pairs, forward and backward: CLIP's loss on whole pictures, on random halves, and A-CLIP.

Beside the seconds stand the tokens of a view that pass the blocks, and the memory that is kept for the backward pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.measure import Row, quiet
from diptych.backbones.sources.load import load
from diptych.core import Clock, Run
from diptych.core import Row as Item
from diptych.core.train import everything
from diptych.methods.pretrain.a_clip import ACLIP
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.train.pair import PairTrainee
from proofs.benches.training.kept_patches import RandomMasks

ARMS = {
    "clip-loss, whole picture": None,
    "random half of two crops, CLIP's loss alone": RandomMasks(simclr=0.0, byol=0.0),
    "random half of two crops, all losses": RandomMasks(),
    "a-clip": ACLIP(),
    "a-clip, efficient": ACLIP(slow_side=0.5),
}


@contextlib.contextmanager
def steps(name: str, batch: int, hidden: int) -> Iterator[Row]:
    """Yield the row of all arms on the same pictures, from random weights, without reading, optimiser and processes.

    Args:
        name: of the backbone.
        batch: pairs of a step.
        hidden: width of the layers of A-CLIP's heads; 4096 in the paper.
    """
    with quiet():
        space: Any = load(name, weights="random") if name != "tiny" else load(name)
    rng, run, side = np.random.default_rng(0), Run(workers=0), space.image.size
    pictures = [Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)) for _ in range(batch)]
    rows = [Item(p, i, str(i), {"captions": (f"a picture with the number {i}",)}) for i, p in enumerate(pictures)]
    calls: dict[str, Callable[[], object]] = {}
    sizes: dict[str, dict[str, float]] = {}
    for arm, method in ARMS.items():
        if method is None:
            trainee: PairTrainee = PairTrainee(space, CLIPLoss(), run)
        else:
            trainee = method.trainee(replace(method, hidden=hidden), space, run, everything)
        inputs = trainee.collate([trainee.views(row, run.generator(str(row.index))) for row in rows])
        calls[arm] = _step(trainee, inputs)
        kept = saved_bytes(trainee.module(), calls[arm])
        seen = getattr(trainee, "seen", 0)
        weights = sum(t.nbytes for t in trainee.module().state_dict().values())
        sizes[arm] = {"views": 2 if seen else 1, "tokens of a view": seen or _whole(space)}
        sizes[arm] |= {"saved MiB": kept / 2**20, "weights MiB": weights / 2**20}
    yield Row(calls, batch, "pairs", same=None, facts={"a step": sizes, "batch": batch, "hidden": hidden})


def saved_bytes(module: torch.nn.Module, step: Callable[[], object]) -> int:
    """Return the bytes that a step keeps for its backward pass, weights left out: each storage counts once."""
    weights = {p.untyped_storage().data_ptr() for p in module.parameters()}
    sizes: dict[int, int] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        step()
    return sum(sizes.values())


def _step(trainee: PairTrainee, inputs: Any) -> Callable[[], object]:
    names = {n for g in trainee.groups() for n in g.names}
    for name, p in trainee.module().named_parameters():
        p.requires_grad_(name in names)

    def step() -> object:
        trainee.module().zero_grad(set_to_none=True)
        losses = trainee.losses(inputs, "main", Clock(0, 100, 0, torch.Generator().manual_seed(0)))
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        with torch.no_grad():
            trainee.after("step", Clock(0, 100, 0, torch.Generator()))
        return losses

    return step


def _whole(space: Any) -> int:
    tower = space.tower("image")
    return int(tower.start(torch.zeros(1, 3, space.image.size, space.image.size)).h.shape[1])
