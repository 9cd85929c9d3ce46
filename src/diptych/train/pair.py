"""The default trainee: pairs of two modalities of a space, and one objective."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from diptych.core import (
    Clock,
    DataError,
    Embedded,
    Inputs,
    Learns,
    MissingHook,
    Objective,
    ParamGroup,
    Row,
    Run,
    Space,
    Trainee,
)
from diptych.core.ranges import between, check
from diptych.core.train import everything
from diptych.train.distributed import gather
from diptych.train.ring import ring
from diptych.train.row_captions import drawn_number, listed
from diptych.train.text_groups import GROUPS, encoded, grouped

Read = Callable[[Row, torch.Generator], Any]


def item(row: Row, g: torch.Generator) -> Any:
    """Return the item itself."""
    return row.item


@dataclass(frozen=True)
class Cropped:
    """Reads a random part of the image, as a square of the tower's side.

    The part has between ``least`` and all of the area, and sides whose ratio is between 3/4 and 4/3.

    Args:
        least: in (0, 1].
        side: of the square, in pixels.
        recolour: whether brightness, contrast, saturation and hue of four in five parts are changed, and one in five is
            grey; with the ranges that open_clip's trainings of CLIPA take.

    Raises:
        UsageError: the share is out of its range.

    Source: Szegedy et al. 2014 (Inception), with torchvision's transforms.
    """

    least: float
    side: int
    recolour: bool = False

    def __post_init__(self) -> None:
        check(self, between(0, 1, "(]"), "least")

    def __call__(self, row: Row, g: torch.Generator) -> Any:
        """Return the part; it is drawn from torch's global generator, which the loop seeds for each row."""
        from torchvision import transforms as T

        crop = T.RandomResizedCrop(self.side, (self.least, 1.0), interpolation=T.InterpolationMode.BICUBIC)
        part = crop(row.item.convert("RGB"))
        if not self.recolour:
            return part
        return T.RandomGrayscale(0.2)(T.RandomApply([T.ColorJitter(0.32, 0.32, 0.32, 0.08)], 0.8)(part))


def drawn_caption(row: Row, g: torch.Generator) -> str:
    """Return one of the row's captions, drawn by their weights, or with equal probability where there are none.

    Raises:
        DataError: the row has no captions.
    """
    captions = listed(row)
    if not captions:
        raise DataError(
            f"Row {row.index} has no captions: give the table a column 'captions' with at least one text per row."
        )
    return captions[drawn_number(row, g)]


@dataclass(frozen=True)
class View:
    """One input of a row, and the encoder that embeds it.

    Args:
        encoder: modality of the space, such as "text".
        read: function that reads the input from a row, and may augment it.
    """

    encoder: str
    read: Read


def token_ids(x: Inputs) -> Tensor:
    """Return the (B, T) token ids among the inputs of a text encoder.

    Raises:
        MissingHook: the encoder takes no token ids.
    """
    ids = x if isinstance(x, Tensor) else x.get("ids")
    if ids is None or ids.is_floating_point():
        raise MissingHook("This text encoder takes vectors, not token ids: use a backbone whose text tower reads ids.")
    return ids


class PairTrainee(Trainee):
    """Trains a copy of a space with one objective; the given space is not changed.

    Args:
        objective: the loss; None: a subclass defines ``losses``.
        run: its seed initialises the objective's heads, and its processes are gathered.
        read: view -> how its input is read from a row. A function alone is for the encoder of the view's name; a
            ``View`` names another encoder, so that a row may have two texts or several crops. Default: the item is
            the image, and a drawn caption the text.
        learns: whether the parameter of this name in the space's module is trained; by default all are.
        tokens: views whose tokens a subclass reads, as in ``Objective.tokens``, where there is no objective.
        text_tokens: most tokens of texts, padding included, that the text tower reads at once: a batch is then read in
            groups of similar length. None: a batch is one group. The loss is the same.
        scale_range: range to which parameters named ``logit_scale`` are clamped after every step; they are logarithms.
    """

    def __init__(
        self,
        space: Space,
        objective: Objective | None,
        run: Run,
        *,
        read: Mapping[str, Read | View] | None = None,
        learns: Learns = everything,
        tokens: tuple[str, ...] = (),
        text_tokens: int | None = None,
        scale_range: tuple[float, float] = (0.0, math.log(100)),
    ) -> None:
        self.space = space.rebuild(copy.deepcopy(space.module()), space.spec)
        self.objective, self.run, self.scale_range, self.text_tokens = objective, run, scale_range, text_tokens
        # the names, not the function, which a worker that is not forked could not be sent
        self.learns: Learns = frozenset(n for n, _ in space.module().named_parameters() if learns(n)).__contains__
        self.tokens = tokens if objective is None else objective.tokens
        given = read or {"image": item, "text": drawn_caption}
        self.read = {name: r if isinstance(r, View) else View(name, r) for name, r in given.items()}
        with run.seeded("heads"):
            self.heads = nn.Identity() if objective is None else objective.heads(space.spec)
        self._module = nn.ModuleDict({"space": self.space.module(), "heads": self.heads})

    def trained(self) -> Space:
        """Return a space with a copy of the current weights, and their fingerprint."""
        return self.space.rebuild(copy.deepcopy(self.space.module()), self.space.spec)

    def module(self) -> nn.Module:
        """Return the space's module and the objective's heads."""
        return self._module

    def groups(self) -> list[ParamGroup]:
        """Return two groups: matrices with weight decay, and vectors and scalars without.

        All parameters outside the space are trained.
        """
        named = [
            (n, p)
            for n, p in self._module.named_parameters()
            if not n.startswith("space.") or self.learns(n.removeprefix("space."))
        ]
        matrices = tuple(n for n, p in named if p.ndim >= 2)
        return [ParamGroup(matrices), ParamGroup(tuple(n for n, p in named if p.ndim < 2), decay=0.0)]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return view -> the input that is read from the row."""
        return {name: view.read(row, g) for name, view in self.read.items()}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return view -> the inputs of its encoder; those of texts in groups have ``GROUPS`` behind the name."""
        batch: dict[str, Any] = {}
        for name, view in self.read.items():
            encoder, items = self.space.encoders[view.encoder], [v[name] for v in views]
            if self.text_tokens is not None and view.encoder == "text":
                batch[name + GROUPS] = grouped(encoder, items, self.text_tokens)
            else:
                batch[name] = encoder.inputs(items)
        return batch

    def embed(self, batch: Mapping[str, Any]) -> Embedded:
        """Return the embeddings of a batch for the objective, and the tokens that it asks for.

        Subclasses add views, tokens or targets.

        Raises:
            MissingHook: the objective asks for tokens of a tower that cannot be cut.
        """
        vectors, tokens, targets = {}, {}, {}
        for name, view in self.read.items():
            if name not in self.tokens:
                encoder = self.space.encoders[view.encoder]
                groups = batch.get(name + GROUPS)
                vectors[name] = encoder.encode(batch[name]) if groups is None else encoded(encoder, groups)
                continue
            tower = self.space.tower(view.encoder)
            state = tower.blocks(tower.start(batch[name]))
            vectors[name] = tower.project(tower.pooled(state)).float()
            tokens[name] = replace(state, h=tower.norm(state.h))
            if view.encoder == "text":
                targets[f"ids/{name}"] = token_ids(batch[name])
        world = self.run.world
        return Embedded(vectors, self.scale, gather(world), world.rank, tokens, targets, self.project, ring=ring(world))

    def scale(self, a: str, b: str) -> tuple[Tensor, Tensor]:
        """Return the scale and the bias of a pair of views or encoders."""
        return self.space.scale(*(self.read[m].encoder if m in self.read else m for m in (a, b)))

    def project(self, view: str, tokens: Tensor) -> Tensor:
        """Map (..., C) normed tokens of a view to (..., D), in the joint space."""
        return self.space.tower(self.read[view].encoder).project(tokens)

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the objective's terms."""
        assert self.objective is not None  # otherwise a subclass defines losses
        return self.objective.terms(self.embed(batch), self.heads, clock)

    def cached_losses(self, batches: Sequence[Mapping[str, Any]], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the objective's terms of several batches as of one.

        Each batch is embedded without its activations, and once more when its gradient is due. BatchNorm that is
        trained sees each batch twice.

        Raises:
            MissingHook: the loss reads tokens, or more than an objective does.
        """
        kind = type(self)
        if self.objective is None or self.tokens or kind.embed is not PairTrainee.embed:
            return super().cached_losses(batches, phase, clock)

        def vectors(batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
            return self.embed(batch).vectors

        parts = [checkpoint(vectors, batch, use_reentrant=False) for batch in batches]
        joined = {name: torch.cat([part[name] for part in parts]) for name in self.read}
        world = self.run.world
        e = Embedded(joined, self.scale, gather(world), world.rank, ring=ring(world))
        return self.objective.terms(e, self.heads, clock)

    def facts(self) -> Mapping[str, Tensor]:
        """Return the learnt scale of the logits, as "scale", where the space has one."""
        scales = [p for n, p in self._module.named_parameters() if n.endswith("logit_scale") and p.ndim == 0]
        return {"scale": scales[0].detach().exp()} if scales else {}

    def after(self, what: Literal["step", "epoch"], clock: Clock) -> None:
        """Clamp the logit scales that are trained to their range."""
        for name, p in self._module.named_parameters():
            if name.endswith("logit_scale") and p.requires_grad:
                p.data.clamp_(*self.scale_range)
