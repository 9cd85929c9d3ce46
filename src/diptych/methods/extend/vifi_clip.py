"""ViFi-CLIP fine-tunes CLIP on clips, with only a mean over the frames added, or learns prompts where clips are few.

    f_bt = image(x_bt)
    v_b  = normalise( 1/T sum over t of f_bt )
    w_k  = normalise( text(t_k) )
    loss = - sum over k of q_bk log softmax_k( s v_b w_k ),   mean over b

Prompts, new ones before each of the first d blocks of both towers:

    image: [CLS] [patches] [u_1 .. u_n]
    text:  [start] [c_1 .. c_n] [text]

x_bt: frame t of clip b, of B clips with T frames
f: (B, T, D) image embeddings, NOT normalised before the mean
v: (B, D) unit embeddings of the clips; they do not depend on the order of the frames
w: (K, D) unit embeddings of the K different texts t_k of the clips
q: (B, K) targets, smoothed and mixed labels
s: scale of the backbone
u, c: n learnt tokens for the image and for the text
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

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
    Table,
    Trainee,
)
from diptych.core.ranges import at_least, between, check, one_of
from diptych.data.evidence import texts_of
from diptych.features.clips import ClipEncoder, ClipSpace, PooledFrames, drawn, each_frame, image_head
from diptych.features.derived_space import DerivedSpace
from diptych.features.embed import embed
from diptych.features.networks import reached, twin_of
from diptych.features.released_tensors import tuned_backbone
from diptych.features.vectors import Vectors
from diptych.nn.prompts.both_towers import PromptedImage, PromptedText, Prompts
from diptych.nn.prompts.prompted_clips import PromptedClips
from diptych.nn.prompts.soft import frozen
from diptych.nn.spaces.mixed_clips import mixed, soft_targets
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule

View = Callable[[Any, torch.Generator], Tensor]
"""From a clip to the input of one item of a batch."""
Frames = Callable[[Tensor], Tensor]
"""From (B, ...) inputs to the (B, T, D) embeddings of their frames, not normalised."""
Texts = Callable[[], Tensor]
"""Returns the (K, D) embeddings of the texts, not normalised."""
Tunes = Literal["full", "prompts", "heads"]
"""What is trained: both towers, prompts, or the layers after the pooling of each tower."""
RATES: Mapping[Tunes, float] = {"full": 2e-6, "prompts": 8e-3, "heads": 1e-3}
"""Learning rates: the authors' for few shots, and ours for heads."""


class ClipTrainee(Trainee):
    """Trains chosen parameters on clips and the texts of their classes.

    Args:
        parameters: name -> trained parameter.
        view: makes the input from a row's item.
        frames: embeds the frames of inputs.
        texts: embeds the texts of the classes.
        scale: returns the scale s of the cosines.
        smoothing: of the labels, in [0, 1).
        mix: whether the inputs are pixels that are mixed.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        view: View,
        frames: Frames,
        texts: Texts,
        scale: Callable[[], Tensor],
        smoothing: float,
        mix: bool,
    ) -> None:
        self.view, self.frames, self.texts, self.scale = view, frames, texts, scale
        self.smoothing, self.mix = smoothing, mix
        # A ParameterDict allows no dots in its names.
        self._module = nn.ParameterDict({name.replace(".", "/"): p for name, p in parameters.items()})

    def module(self) -> nn.Module:
        """Return the trained parameters alone: the towers stay in eval mode, so that no running mean changes."""
        return self._module

    def groups(self) -> list[ParamGroup]:
        """Return one group of all parameters; all have weight decay, as in the authors' code."""
        return [ParamGroup(tuple(name for name, _ in self._module.named_parameters()))]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return a random view of the clip as "x", and its label as "y"."""
        return {"x": self.view(row.item, g), "y": int(row.columns["label"])}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the cross-entropy with soft targets as "classes"."""
        w = normalize(self.texts(), dim=-1)
        x, q = batch["x"], soft_targets(batch["y"], len(w), self.smoothing).to(w)
        if self.mix:
            x, q = mixed(x, q, np.random.default_rng(int(torch.randint(2**62, (), generator=clock.generator))))
        v = normalize(self.frames(x).mean(1), dim=-1)
        return {"classes": cross_entropy(self.scale() * v @ w.T, q)}

    def after(self, what: Literal["step", "epoch"], clock: Clock) -> None:
        """Keep the scale in [1, 100]."""
        for name, p in self._module.named_parameters():
            if name.endswith("logit_scale"):
                p.data.clamp_(0.0, math.log(100))


@dataclass(frozen=True)
class ViFiCLIP(Extender):
    """Tune a CLIP on clips that have one text each; the result embeds clips where the backbone embeds photos.

    Use "full" for many clips, "prompts" for few clips, and "heads" where training towers takes too long.

    Args:
        tunes: "full" (default): both towers. "prompts": tokens in both towers, all else frozen; with
            ``evidence.auxiliary`` the towers are fully tuned on it first. "heads" (ours): the layers after the pooling
            of each tower, on frames that are encoded once.
        towers: whose parameters are trained: "both" (default), "image" or "text".
        frames: T, >= 1; 8 (ours; the authors take 16 or 32).
        length: n, prompts per block and tower, >= 1; 10 (the authors').
        depth: d, blocks with new prompts, >= 1; 12 (the authors'). Smaller towers have prompts in all their blocks.
        words: start of the text prompts, such as "a photo of a", up to four words; "" (default) draws them at random.
        rate: highest learning rate, >= 0; None (default): 2e-6 for towers, 8e-3 for prompts, 1e-3 for heads.
        epochs: passes over the clips, >= 1; 50 (the authors').
        batch: clips per step, >= 1; 64. Fewer clips make one batch.
        smoothing: of the labels, in [0, 1); 0.1 (the authors').
        mix: Mixup or CutMix in every step (default); heads do not mix, since their inputs are embeddings.

    Raises:
        UsageError: a number is out of its range.

    Source: Rasheed et al. 2023, sections 3.1 and 3.2, tables 9 to 11.

    Example:
        >>> soft_targets(torch.tensor([0, 1]), classes=2, smoothing=0.1)
        tensor([[0.9500, 0.0500],
                [0.0500, 0.9500]])
        >>> frames = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))  # (B, T, D)
        >>> v, w = normalize(frames.mean(1), dim=-1), torch.eye(2, 4)
        >>> (100 * v @ w.T).shape
        torch.Size([2, 2])
    """

    tunes: Tunes = "full"
    towers: Literal["both", "image", "text"] = "both"
    frames: int = 8
    length: int = 10
    depth: int = 12
    words: str = ""
    rate: float | None = None
    epochs: int = 50
    batch: int = 64
    smoothing: float = 0.1
    mix: bool = True

    quick = MappingProxyType({"tunes": "heads"})

    def __post_init__(self) -> None:
        check(self, at_least(1), "frames", "length", "depth", "epochs", "batch")
        check(self, at_least(0), "rate")
        check(self, between(0, 1, "[)"), "smoothing")
        check(self, one_of(*RATES), "tunes")
        check(self, one_of("both", "image", "text"), "towers")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> DerivedSpace:
        """Train on ``evidence.train``; the kit's backbone is not changed.

        Raises:
            MissingHook: the backbone lacks the towers that ``tunes`` needs, or cannot be rebuilt.
            MissingEvidence: ``evidence.train`` is missing.
            DataError: a clip has no text, or several.
        """
        backbone = kit.need(Backbone)
        table, texts, labels = texts_of(evidence.train)
        data = Table(table.items, {"label": Column("label", labels)})
        if self.tunes == "prompts":
            if evidence.auxiliary is not None:
                bridge = replace(self, tunes="full", rate=None).fit(kit, Evidence(train=evidence.auxiliary), run)
                backbone = bridge.base
            return self._prompted(backbone, kit.need(Backbone), data, texts, run)
        twin = twin_of(backbone)
        tune = self._tune_heads if self.tunes == "heads" else self._tune_towers
        tune(twin, data, texts, run)
        tuned = twin.rebuild(twin.module(), backbone.spec)  # the fingerprint follows the new weights
        assert isinstance(tuned, Backbone)
        return ClipSpace(tuned, self.frames, kit.need(Backbone))

    def from_released(
        self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run
    ) -> DerivedSpace:
        """Return the space of a released file, with or without prompts.

        The table of words is the backbone's: files lack it, as it was never trained.
        """
        backbone = kit.need(Backbone)
        towers = {name: t for name, t in learnt.items() if not name.startswith("prompts.")}
        tokens = {name.removeprefix("prompts."): t for name, t in learnt.items() if name.startswith("prompts.")}
        system = f"ViFi-CLIP on {backbone.spec.name}"
        base = tuned_backbone(towers, backbone, system, tunes=lambda name: name != "token_embedding.weight")
        if not tokens:
            return ClipSpace(base, self.frames, backbone)
        return PromptedClips.of_released(base, self.frames, tokens, backbone, system)

    def _tune_towers(self, twin: Backbone, data: Table[Any], texts: Sequence[str], run: Run) -> None:
        frames = partial(each_frame, twin.image.encode)
        read = partial(twin.text.encode, twin.text.inputs(list(texts)))
        side = twin.image.size or 0  # an image encoder of vectors has no size, and no use for one
        blank = ClipEncoder(twin.image, 1).inputs([(torch.zeros(3, side, side),)])
        names = self._learning(twin, lambda: frames(blank), read)
        names -= set() if self.towers == "image" else _word_table(twin)
        self._train(twin, twin.module(), names, data, self._view(twin), frames, read, run)

    def _tune_heads(self, twin: Backbone, data: Table[Any], texts: Sequence[str], run: Run) -> None:
        pool, project = image_head(twin)
        tower, clips, side = twin.tower("text"), ClipEncoder(twin.image, self.frames), twin.image.size or 0
        with torch.no_grad():
            pooled = tower.pooled(tower.blocks(tower.start(twin.text.inputs(list(texts)))))
            blank = pool(torch.zeros(1, 3, side, side).to(pooled.device))
        cut = embed(PooledFrames(pool, clips, blank.shape[1]), data.items, run)
        vectors = Vectors(torch.unflatten(cut, 1, (self.frames, -1)), data.items)

        def read() -> Tensor:
            return tower.project(pooled).float()

        def frames(x: Tensor) -> Tensor:
            return project(x).float()

        names = self._learning(twin, lambda: frames(blank), read)
        data = Table(vectors, data.columns)
        self._train(twin, twin.module(), names, data, lambda x, g: x, frames, read, run)

    def _prompted(
        self, backbone: Backbone, origin: Backbone, data: Table[Any], texts: Sequence[str], run: Run
    ) -> PromptedClips:
        with run.seeded("vifi-clip"):
            prompts = Prompts(backbone, self.length, self.depth, self.words)
        prompts.to(next(backbone.module().parameters()).device)
        image, text = PromptedImage(backbone, prompts), PromptedText(backbone, prompts)
        frames, read = partial(each_frame, image.encode), partial(text.encode, text.inputs(list(texts)))
        names = {n for n, _ in prompts.named_parameters() if self.towers in ("both", n.split("_")[0])}
        self._train(backbone, prompts, names, data, self._view(backbone), frames, read, run)
        prompts.requires_grad_(False)
        return PromptedClips(backbone, self.frames, prompts, origin)

    def _learning(self, twin: Backbone, image: Texts, text: Texts) -> set[str]:
        """Return the names of the parameters of the chosen towers, and of the scale where both are chosen."""
        outputs = {"image": [image], "text": [text], "both": [image, text, lambda: twin.scale()[0]]}[self.towers]
        return set(reached(twin.module(), *outputs))

    def _view(self, backbone: Backbone) -> View:
        encoder = ClipEncoder(backbone.image, self.frames)
        return lambda clip, g: encoder.inputs([tuple(drawn(clip, self.frames, encoder.size or 0, g))])[0]

    def _train(
        self,
        space: Backbone,
        module: nn.Module,
        names: set[str],
        data: Table[Any],
        view: View,
        frames: Frames,
        texts: Texts,
        run: Run,
    ) -> None:
        """Train the named parameters of the space's module or of prompts; all else in the space is frozen."""
        parameters = {n: p for n, p in module.named_parameters() if n in names}
        mix = self.mix and self.tunes != "heads"
        trainee = ClipTrainee(parameters, view, frames, texts, lambda: space.scale()[0], self.smoothing, mix)
        batch = min(self.batch, len(data))
        settings = Fit(
            RATES[self.tunes] if self.rate is None else self.rate, batch, self.epochs, decay=1e-3, eps=1e-8,
            optimizer="adamw",
            schedule=Schedule(warmup=min(5, self.epochs // 2) * (len(data) // batch), floor=0.01),
        )  # fmt: skip
        with frozen(space.module()):
            train_parameters(trainee, data, settings, run, ())


def _word_table(twin: Backbone) -> set[str]:
    """Return the names of the token-embedding table, which stays frozen, since later classes may use any word."""
    written = twin.text.inputs(["a"])
    tower = twin.tower("text")
    ids = (written if isinstance(written, Tensor) else written["ids"]).to(next(twin.module().parameters()).device)
    return set(reached(twin.module(), lambda: tower.embed(ids)))
