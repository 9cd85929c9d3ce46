"""ILA lets the blocks of a CLIP see neighbouring frames, aligned by one point per frame, without attention over time.

    h_i    <- h_i + align_i(h_i)                      before block i, all frames; see ``nn.spaces.aligned_frames``
    f_t    = project(pooled(h of frame t)),  v = mean over t of integration(f_1 .. f_T)
    w_k    = text(t_k) + alpha prompts(text(t_k), mean over t of the normed patch tokens)
    loss   = - sum over k of q_k log softmax_k( s cos(v, w_k) )  +  sum over i of gap_i,      mean over clips

f: (T, D) embeddings of the frames;  v: (D,) embedding of the clip
w: (K, D) embeddings of the K texts, conditioned on the clip;  alpha: learnt, 0.1 at the start
q: (K,) targets, smoothed and mixed labels;  s: scale of the backbone
gap: 1 - cosine between the masked maps of neighbours, so that the masks settle on what both frames show

The tower is frozen. At the start it gives the frame-wise tokens of the backbone, since the last maps of align are 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    Column,
    Evidence,
    Extender,
    Kit,
    ParamGroup,
    Row,
    Run,
    Samples,
    State,
    Table,
    Texts,
    Trainee,
)
from diptych.core.ranges import at_least, between, check, one_of, wrong
from diptych.data.evidence import texts_of
from diptych.features.clips import ClipEncoder, drawn
from diptych.features.embed import embed
from diptych.features.released_tensors import check_released, frozen_apart
from diptych.features.strict_weights import load_tensors
from diptych.features.vectors import Vectors
from diptych.nn.prompts.soft import frozen
from diptych.nn.spaces.aligned_clips import ILANet, ILASpace, Seen, StartTokens, cosines
from diptych.nn.spaces.aligned_frames import STEP
from diptych.nn.spaces.mixed_clips import mixed, soft_targets
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule

HALVING = 30  # epoch from which the shift of the points halves in every epoch


def shift_of(epoch: int) -> float:
    """Return the shift of the nine points of a mask in an epoch of the training, from 0.

    Example:
        >>> [shift_of(epoch) for epoch in (0, 29, 30, 31)]
        [0.2, 0.2, 0.1, 0.05]
    """
    return STEP * 0.5 ** max(0, epoch - HALVING + 1)


class ILATrainee(Trainee):
    """Trains the parts of a net on clips and the texts of their classes.

    Args:
        net: trained parts.
        names: of the trained parameters.
        view: from a row's item to pixels, or to stored tokens.
        state: from a batch of these to the state before the first block that sees neighbours.
        texts: (K, D) embeddings of the texts, not normalised.
        scale: s.
        smoothing: of the labels, in [0, 1).
        mix: whether the inputs are pixels that are mixed.
    """

    def __init__(
        self,
        net: ILANet,
        names: Sequence[str],
        view: Any,
        state: Any,
        texts: Tensor,
        scale: Tensor,
        smoothing: float,
        mix: bool,
    ) -> None:
        self.net, self.names, self.view, self.state = net, names, view, state
        self.texts, self.scale, self.smoothing, self.mix = texts, scale, smoothing, mix

    def module(self) -> nn.Module:
        """Return the net."""
        return self.net

    def groups(self) -> list[ParamGroup]:
        """Return the groups of alignment, and of what follows the tower, whose rate is 0.8 of it."""
        after = tuple(n for n in self.names if not n.startswith("align"))
        align = tuple(n for n in self.names if n.startswith("align"))
        return [g for g in (ParamGroup(align), ParamGroup(after, 0.8, 0.3)) if g.names]

    def views(self, row: Row, g: Generator) -> Mapping[str, Any]:
        """Return a view of the clip as "x", and its label as "y"."""
        return {"x": self.view(row.item, g), "y": int(row.columns["label"])}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the cross-entropy with soft targets as "classes", and the sum of the gaps as "gaps"."""
        x, q = batch["x"], soft_targets(batch["y"], len(self.texts), self.smoothing).to(batch["x"])
        if self.mix:
            x, q = mixed(x, q, np.random.default_rng(int(torch.randint(2**62, (), generator=clock.generator))))
        seen: Seen = self.net(self.state(x), shift_of(clock.epoch))
        logits = self.scale.to(x) * cosines(self.net, seen, self.texts.to(x))
        return {"classes": cross_entropy(logits, q), "gaps": torch.stack(seen.gaps).sum()}


@dataclass(frozen=True)
class ILA(Extender):
    """Train alignment, integration and prompts on clips that have one text each, round a frozen tower.

    Use it where the order of the frames matters, as a mean over the frames has no order.

    Args:
        frames: T, >= 2; 8.
        blocks: last blocks of the image tower that see neighbours, >= 1; None (default): all, as in the paper.
        hidden: channels of the maps of a pair, a multiple of 16; 256.
        sampling: "drawn" (default): random frames, crops, mirrors and colours, as ViFi-CLIP. "middle" (ours): those
            of the test, whose tokens before the first aligned block are computed once; nothing is mixed.
        rate: highest learning rate, >= 0; 5e-4 (that of the authors' "message" layers).
        epochs: passes over the clips, >= 1; 50.
        batch: clips per step, >= 2; 256. Fewer clips make one batch.
        smoothing: of the labels, in [0, 1); 0.1.
        mix: Mixup or CutMix in every step (default), where ``sampling`` is "drawn".
        together: clips that are encoded together in tests, with BatchNorm's statistics of them, >= 0; 0 (default): the
            running statistics of the training. 2 is the authors': then a score depends on the clip before or after.

    Raises:
        UsageError: a number is out of its range.

    Source: Tu et al. 2023, section 3, and the authors' code for Kinetics.

    Example:
        Before training, alignment adds nothing to the tokens of 2 clips of 4 frames:

        >>> from diptych.nn.spaces.aligned_frames import AlignedFrames
        >>> align = AlignedFrames(width=32, hidden=16).eval()
        >>> more, gaps, points = align(torch.randn(8, 17, 32), frames=4, grid=(4, 4), prefix=1)
        >>> more.abs().max().item(), points.shape, points.abs().max().item()
        (0.0, torch.Size([2, 3, 2, 2]), 0.0)
        >>> sum(p.numel() for p in AlignedFrames(width=768).parameters())  # the paper's 3.37 M a block
        3372100
    """

    frames: int = 8
    blocks: int | None = None
    hidden: int = 256
    sampling: Literal["drawn", "middle"] = "drawn"
    rate: float = 5e-4
    epochs: int = 50
    batch: int = 256
    smoothing: float = 0.1
    mix: bool = True
    together: int = 0

    quick = MappingProxyType({"sampling": "middle", "batch": 32})

    def __post_init__(self) -> None:
        check(self, at_least(2), "frames", "batch")
        check(self, at_least(1), "blocks", "epochs")
        check(self, one_of("drawn", "middle"), "sampling")
        check(self, at_least(0), "rate", "together")
        check(self, between(0, 1, "[)"), "smoothing")
        if self.hidden < 16 or self.hidden % 16:
            raise wrong(self, "hidden", "a multiple of 16")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> ILASpace:
        """Train on ``evidence.train``; the kit's backbone is not changed.

        Raises:
            MissingHook: the backbone has no image tower.
            MissingEvidence: ``evidence.train`` is missing.
            DataError: a clip has no text, or several.
        """
        backbone = kit.need(Backbone)
        with run.seeded("ila"):
            net = ILANet(backbone, self.frames, self.blocks, self.hidden, self.together)
        table, texts, labels = texts_of(evidence.train)
        w = embed(backbone.text, Texts(texts), run)
        clips = ClipEncoder(backbone.image, self.frames)
        items: Samples[Any] = table.items
        device = next(backbone.module().parameters()).device
        net.to(device)

        stored = self.sampling == "middle"

        def view(item: Any, g: Generator) -> Any:
            return item if stored else clips.inputs([tuple(drawn(item, self.frames, clips.size or 224, g))])[0]

        def state(x: Tensor) -> State:
            with torch.no_grad():
                return net.start(x)

        if stored:
            items, state = self._stored(net, clips, items, run)
        scale, mix = backbone.scale()[0].detach(), self.mix and not stored
        trainee = ILATrainee(net, self.trained(net), view, state, w, scale, self.smoothing, mix)
        batch = min(self.batch, len(table))
        settings = Fit(
            self.rate, batch, self.epochs, decay=1e-2, eps=1e-8,
            schedule=Schedule(warmup=min(5, self.epochs // 2) * (len(table) // batch), floor=0.01),
        )  # fmt: skip
        with frozen(backbone.module()):
            train_parameters(trainee, Table(items, {"label": Column("label", labels)}), settings, run, ())
        net.eval().requires_grad_(False)
        return ILASpace(backbone, net, self.frames)

    def from_released(self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run) -> ILASpace:
        """Return the space of a released file, which holds the frozen CLIP too; it says how many frames a clip has."""
        backbone = kit.need(Backbone)
        apart = frozen_apart(learnt, backbone, "The released file", needs=lambda name: True)
        for i in range(2):  # the authors' queries, keys and values have no bias
            weight = f"prompts.layers.{i}.attend.in_proj_weight"
            if weight in apart:
                apart[weight.replace("weight", "bias")] = torch.zeros(len(apart[weight]))
        positions = apart.get("integration.positions")
        frames = self.frames if positions is None else len(positions)
        with torch.random.fork_rng(devices=[]):
            net = ILANet(backbone, frames, self.blocks, self.hidden, self.together)
        load_tensors(net, check_released(apart, net.state_dict(), f"ILA on {backbone.spec.name}"))
        net.to(next(backbone.module().parameters()).device).eval().requires_grad_(False)
        return ILASpace(backbone, net, frames)

    def trained(self, net: ILANet) -> tuple[str, ...]:
        """Return the names of the trained parameters: all."""
        return tuple(name for name, _ in net.named_parameters())

    def _stored(self, net: ILANet, clips: ClipEncoder, items: Samples[Any], run: Run) -> tuple[Vectors, Any]:
        """Return the tokens of each clip before the first aligned block, and the function to their state."""
        device = next(net.parameters()).device
        side = clips.size or 224
        with torch.no_grad():
            blank = net.start(torch.zeros(1, 1, 3, side, side, device=device))
        tokens = embed(StartTokens(clips, net, blank.h.shape[1] * net.tower.width * self.frames), items, run)

        def state(x: Tensor) -> State:
            h = x.flatten(0, 1)
            pool = None if blank.pool is None else blank.pool.expand(len(h), -1)
            return replace(blank, h=h, pool=pool)

        return Vectors(torch.unflatten(tokens, 1, (self.frames, -1, net.tower.width)), items), state
