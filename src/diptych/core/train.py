"""Training: what the one loop drives (Trainee), what it minimises (Objective), and what passes between the two
(Embedded, Clock).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from diptych.core.backbone import Space, State
from diptych.core.data import ClassNames, Evidence, Table
from diptych.core.errors import MissingHook
from diptych.core.kit import Kit
from diptych.core.language import Writer
from diptych.core.method import Method
from diptych.core.run import Run
from diptych.core.spec import Spec

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Clock:
    """Where training stands, for objectives that anneal and objectives that draw.

    Args:
        step: optimiser steps done before this one.
        steps: optimiser steps of the whole training.
        epoch: epochs done before this one.
        generator: CPU generator fixed by (seed, step), the same in every process; draws of single items belong in
            ``Trainee.views``.
    """

    step: int
    steps: int
    epoch: int
    generator: torch.Generator


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that learn alike. A parameter in no group is frozen.

    Args:
        names: names in ``Trainee.module().named_parameters()``.
        lr: factor on the learning rate of the fit.
        decay: factor on the weight decay of the fit; 0.0 for biases, norms and scales.
        phases: phases whose losses train the group, which steps after the last of them; () is every phase.
    """

    names: tuple[str, ...]
    lr: float = 1.0
    decay: float = 1.0
    phases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Embedded:
    """What an objective sees of this process's share of a batch: any number of modalities, views and regions.

    Args:
        vectors: modality or view -> (B, D) embeddings, not normalised.
        tokens: modality -> tokens of a tower or a decoder.
        targets: name -> what is predicted: labels, token ids, teacher scores.
        scale: pair of modalities -> (scale, bias), two scalars.
        gather: (B, ...) -> (W * B, ...), the rows of all W processes in rank order, with gradient; one process:
            identity.
        rank: number of this process; its rows start at ``rank * B`` of the gathered ones.
    """

    vectors: Mapping[str, Tensor]
    scale: Callable[[str, str], tuple[Tensor, Tensor]]
    gather: Callable[[Tensor], Tensor]
    rank: int = 0
    tokens: Mapping[str, State] = field(default_factory=dict)
    targets: Mapping[str, Tensor] = field(default_factory=dict)


class Objective(Method):
    """Role of ``pretrain`` for a loss: pure, it holds no tower, and it gathers when it wants."""

    def heads(self, spec: Spec) -> nn.Module:
        """Return the objective's own trainable parts for a space; none by default."""
        from torch import nn

        return nn.Identity()

    @abstractmethod
    def terms(self, e: Embedded, heads: nn.Module, clock: Clock) -> Mapping[str, Tensor]:
        """Return the weighted terms of the loss, scalars by name.

        The mean of each term over the processes is the term of the whole batch, so that averaged gradients are exact.
        """


@dataclass(frozen=True)
class Row:
    """One row of a table, or one item of a stream, on its way to ``Trainee.views``.

    Args:
        item: the sample itself.
        index: its place in the table, or its position in the stream.
        key: its content key; a stream's is its position.
        columns: column name -> value of this row.
    """

    item: Any
    index: int
    key: str
    columns: Mapping[str, Any] = field(default_factory=dict)


class Sampler(Protocol):
    """Which rows make which batch: clusters, hard negatives, one corpus a batch."""

    def batches(self, epoch: int, size: int, /) -> Sequence[Sequence[int]]:
        """Return the batches of an epoch, ``size`` row numbers each: the same for the same epoch, also after a
        restart.
        """
        ...


class Trainee(ABC):
    """What the one loop drives: parameters, views of an item, and losses of a batch.

    Attributes:
        phases: one backward pass each, in this order, in every step.
    """

    phases: tuple[str, ...] = ("main",)

    @abstractmethod
    def module(self) -> nn.Module:
        """Return the module that holds all a checkpoint must keep: trained and frozen weights, teachers, running means,
        queues.
        """

    @abstractmethod
    def groups(self) -> list[ParamGroup]:
        """Return what is trained, and how."""

    @abstractmethod
    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return one item as the batch needs it: crops, a drawn caption, masks. Runs in the workers.

        Args:
            row: the row.
            g: CPU generator fixed by (seed, epoch, key of the row), whatever the number of workers.
        """

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the batch of B views, in the workers: by default tensors of one size and numbers are stacked, all else
        is listed.
        """
        return {name: _stack([v[name] for v in views]) for name in views[0]}

    def sampler(self, table: Table[Any], run: Run) -> Sampler | None:
        """Return who composes the batches; None shuffles all rows in every epoch and drops the last part of a batch."""
        return None

    @abstractmethod
    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the weighted losses of a phase, scalars by name; their sum is minimised."""

    def validate(self, batches: Iterable[Mapping[str, Any]], clock: Clock) -> float:
        """Return the number that early stopping wants low, without gradients: by default the mean sum of all losses."""
        totals = [sum(v.item() for v in self.losses(b, p, clock).values()) for b in batches for p in self.phases]
        return sum(totals) * len(self.phases) / max(1, len(totals))

    def after(self, what: Literal["step", "epoch"], clock: Clock) -> None:  # noqa: B027
        """Do what follows a step or an epoch: clamp, move a teacher, centre, cluster again. Runs without gradients."""

    def trained(self) -> Space:
        """Return the space that the training made, as its weights are now.

        Raises:
            MissingHook: this trainee trains no space, only parts beside one.
        """
        raise MissingHook(f"{type(self).__name__} trains no space of its own: take what it trains from module().")

    def parts(self) -> Mapping[str, nn.Module]:
        """Return what leaves the training beside the space: decoder, prompter, heads; nothing by default."""
        return {}


@dataclass(frozen=True)
class Trained:
    """What a training hands back.

    Args:
        space: the trained space.
        parts: name -> what was trained beside it and is of use without the training.
        log: records of all stages, oldest first.
    """

    space: Space
    parts: Mapping[str, nn.Module] = field(default_factory=dict)
    log: tuple[Mapping[str, Any], ...] = ()


Learns = Callable[[str], bool]
"""Whether a parameter of the space's module, given by name, may be trained."""


def everything(name: str) -> bool:
    """Let every parameter learn."""
    return True


class Rewriter(Method):
    """Role of what rewrites texts before a training: the result is a writer, so rewrites are recorded, stored and
    reused as others are.
    """

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Writer:
        """Return a writer that is asked ``about`` a text, and answers with up to ``n`` other wordings of it.

        Raises:
            MissingPart: the kit has no writer to ask.
        """


class Recipe(Method):
    """Role of ``pretrain`` and ``finetune`` for what is more than an objective: a teacher, a draw, views, or several
    stages.
    """

    @abstractmethod
    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the trainees one after the other; each is trained in place before the next is asked for.

        So a later stage may start from ``trained()`` of an earlier one. The space that comes in the kit is never
        changed.

        Args:
            kit: the backbone, and other parts that the card names.
            classes: names of the classes that the column "label" counts; None where rows have captions instead.
            evidence: ``train`` as a rule; the loop trains on ``evidence.train``.
            run: seed, device and world.
            learns: the user's choice of what may be trained in the space; own heads always learn.

        Raises:
            MissingPart: the kit lacks a part.
            MissingEvidence: a needed field of the evidence, or the class names, are missing.
            MissingHook: the space lacks what the recipe needs.
        """


def _stack(values: list[Any]) -> Any:
    import torch

    first = values[0]
    if isinstance(first, Mapping):
        return {name: _stack([v[name] for v in values]) for name in first}
    if isinstance(first, torch.Tensor) and all(v.shape == first.shape for v in values):
        return torch.stack(values)
    if isinstance(first, (bool, int, float)):
        return torch.tensor(values)
    return values
