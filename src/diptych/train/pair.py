"""The default trainee: pairs of two modalities of a space, and one objective."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from diptych.core.backbone import Inputs, Space
from diptych.core.errors import DataError
from diptych.core.run import Run
from diptych.core.train import Clock, Embedded, Learns, Objective, ParamGroup, Row, Trainee, everything
from diptych.train.distributed import gather

Read = Callable[[Row, torch.Generator], Any]


def item(row: Row, g: torch.Generator) -> Any:
    """Return the item itself."""
    return row.item


def drawn_caption(row: Row, g: torch.Generator) -> str:
    """Return one of the row's captions, drawn with equal probability.

    Raises:
        DataError: the row has no captions.
    """
    captions = row.columns.get("captions")
    if not captions:
        raise DataError(
            f"Row {row.index} has no captions: give the table a column 'captions' with at least one text a row."
        )
    texts = (captions,) if isinstance(captions, str) else captions
    return str(texts[int(torch.randint(len(texts), (), generator=g))])


class PairTrainee(Trainee):
    """Trains a copy of a space with one objective; the given space is not changed.

    Args:
        space: any space that can be rebuilt.
        objective: the loss; None: a subclass defines ``losses``.
        run: its seed initialises the objective's heads, and its processes are gathered.
        read: modality -> function that reads its input from a row, and may augment it. Default: the item is the image,
            and a drawn caption the text.
        learns: whether the parameter of this name in the space's module is trained; by default all are.
        scale_range: range to which parameters named ``logit_scale`` are clamped after every step; they are logarithms.
    """

    def __init__(
        self,
        space: Space,
        objective: Objective | None,
        run: Run,
        *,
        read: Mapping[str, Read] | None = None,
        learns: Learns = everything,
        scale_range: tuple[float, float] = (0.0, math.log(100)),
    ) -> None:
        self.space = space.rebuild(copy.deepcopy(space.module()), space.spec)
        self.objective, self.run, self.learns, self.scale_range = objective, run, learns, scale_range
        self.read: Mapping[str, Read] = read or {"image": item, "text": drawn_caption}
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
        """Return modality -> the input that is read from the row."""
        return {modality: read(row, g) for modality, read in self.read.items()}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Inputs]:
        """Return modality -> the inputs of its encoder."""
        return {m: self.space.encoders[m].inputs([v[m] for v in views]) for m in self.read}

    def embed(self, batch: Mapping[str, Any]) -> Embedded:
        """Return the embeddings of a batch for the objective; subclasses add views, tokens or targets."""
        vectors = {m: self.space.encoders[m].encode(batch[m]) for m in self.read}
        return Embedded(vectors, self.space.scale, gather(self.run.world), self.run.world.rank)

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the objective's terms."""
        assert self.objective is not None  # otherwise a subclass defines losses
        return self.objective.terms(self.embed(batch), self.heads, clock)

    def after(self, what: Literal["step", "epoch"], clock: Clock) -> None:
        """Clamp the logit scales to their range."""
        for name, p in self._module.named_parameters():
            if name.endswith("logit_scale"):
                p.data.clamp_(*self.scale_range)
