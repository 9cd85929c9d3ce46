"""Interfaces of training: the loop runs a Trainee, which may minimise an Objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from diptych.core.backbone import Space, State
from diptych.core.data import ClassNames, Evidence, Table
from diptych.core.errors import MissingHook, UsageError
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
    """The position in a training, for objectives with a schedule or with random draws.

    Args:
        step: optimiser steps done before this one.
        steps: optimiser steps of the whole training.
        epoch: epochs done before this one.
        generator: CPU generator fixed by (seed, step), the same in every process. ``Trainee.views`` has another for
            draws of single items.
    """

    step: int
    steps: int
    epoch: int
    generator: torch.Generator


@dataclass(frozen=True)
class ParamGroup:
    """Parameters with the same learning rate and decay. A parameter in no group is frozen.

    Args:
        names: names in ``Trainee.module().named_parameters()``.
        lr: factor on the learning rate of the fit.
        decay: factor on the weight decay of the fit; 0.0 for biases, norms and scales.
        phases: phases whose losses train the group; its optimiser step follows the last of them. () is every phase.
    """

    names: tuple[str, ...]
    lr: float = 1.0
    decay: float = 1.0
    phases: tuple[str, ...] = ()


Block = Callable[..., "Tensor"]
"""From (B, ...) rows and further inputs to a scalar."""


class Ring(Protocol):
    """Sums a block over the rows of all processes, with gradient, as ``train.ring.ring`` does."""

    def __call__(self, block: Block, rows: Tensor, inputs: Sequence[Tensor], /) -> Tensor:
        """Return the sum over processes r of block(rows_r, *inputs), a scalar."""


def _no_tower(view: str, tokens: Tensor) -> Tensor:
    raise MissingHook(f"The {view} tokens of this trainee have no projection: use a backbone whose towers can be cut.")


@dataclass(frozen=True)
class Embedded:
    """This process's share of an embedded batch: any number of modalities, views and regions.

    Args:
        vectors: modality or view -> (B, D) embeddings, not normalised.
        tokens: modality -> tokens of a tower or a decoder.
        targets: name -> targets of the loss: labels, token ids, teacher scores.
        scale: pair of modalities -> (scale, bias), two scalars.
        gather: (B, ...) -> (W * B, ...), the rows of all W processes in rank order, with gradient; the identity for
            one process.
        rank: number of this process; its rows start at ``rank * B`` of the gathered ones.
        project: (view, (..., C)) -> (..., D): normed tokens of a view in the joint space.
        ring: sums over the rows of all processes that are not gathered; None: there is one process, or they are.
    """

    vectors: Mapping[str, Tensor]
    scale: Callable[[str, str], tuple[Tensor, Tensor]]
    gather: Callable[[Tensor], Tensor]
    rank: int = 0
    tokens: Mapping[str, State] = field(default_factory=dict)
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    project: Callable[[str, Tensor], Tensor] = _no_tower
    ring: Ring | None = None


class Objective(Method):
    """Role of ``pretrain`` for a loss: a function of embeddings, without a tower."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """Views whose tokens the loss reads; none by default.

        The trainee gives each as ``Embedded.tokens[view]``: the state after the last block, with normed tokens, and for
        texts ``valid`` and ``targets["ids/" + view]``, the (B, T) token ids.
        """
        return ()

    def prepared(self, space: Space) -> Space:
        """Return the space with what the loss trains and the space may lack, such as a bias; by default as it is."""
        return space

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
    """One row of a table, or one item of a stream: the input of ``Trainee.views``.

    Args:
        index: its position in the table or the stream.
        key: its content key; for a stream, its position.
        columns: column name -> value of this row.
    """

    item: Any
    index: int
    key: str
    columns: Mapping[str, Any] = field(default_factory=dict)


class Sampler(Protocol):
    """Chooses the rows of each batch: clusters, hard negatives, one corpus a batch."""

    def batches(self, epoch: int, size: int, /) -> Sequence[Sequence[int]]:
        """Return the batches of an epoch, ``size`` row numbers each.

        They are the same for the same epoch, also after a restart.
        """


class Trainee(ABC):
    """What the training loop runs: parameters, views of an item, and losses of a batch.

    Attributes:
        phases: names of the backward passes of every step, in order.
    """

    phases: tuple[str, ...] = ("main",)

    @abstractmethod
    def module(self) -> nn.Module:
        """Return the module with the whole state of a checkpoint.

        This is trained and frozen weights, teachers, running means and queues.
        """

    @abstractmethod
    def groups(self) -> list[ParamGroup]:
        """Return the groups of trained parameters."""

    @abstractmethod
    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the inputs of one item, such as crops, a drawn caption or masks. Runs in the workers, on a copy of
        the trainee from before the training.

        Args:
            row: the row.
            g: CPU generator fixed by (seed, epoch, key of the row), whatever the number of workers.
        """

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the batch of B views. Runs in the workers.

        By default, numbers and tensors of one size are stacked, and all other values are listed.
        """
        return {name: _stack([v[name] for v in views]) for name in views[0]}

    def sampler(self, table: Table[Any], run: Run) -> Sampler | None:
        """Return the sampler of batches; None shuffles all rows in every epoch and drops an incomplete last batch."""
        return None

    @abstractmethod
    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the weighted losses of a phase, scalars by name; their sum is minimised."""

    def cached_losses(self, batches: Sequence[Mapping[str, Any]], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the losses of several batches as those of one, in the memory of one batch.

        Raises:
            MissingHook: the losses of this trainee need more than the embeddings of a batch.
        """
        raise MissingHook(
            f"{type(self).__name__} cannot embed a batch in parts: leave out the cache, so that each part has its own "
            f"negatives."
        )

    def facts(self) -> Mapping[str, Tensor]:
        """Return numbers that the log has beside the losses, scalars by name, such as a scale; none by default."""
        return {}

    def validate(self, batches: Iterable[Mapping[str, Any]], clock: Clock) -> float:
        """Return the number that early stopping minimises, by default the mean sum of all losses. No gradients."""
        totals = [sum(v.item() for v in self.losses(b, p, clock).values()) for b in batches for p in self.phases]
        return sum(totals) * len(self.phases) / max(1, len(totals))

    def after(self, what: Literal["step", "epoch"], clock: Clock) -> None:  # noqa: B027
        """Update the state after a step or an epoch: clamp, move a teacher, centre, cluster. Runs without gradients."""

    def trained(self) -> Space:
        """Return the trained space, with its present weights.

        Raises:
            MissingHook: this trainee trains parts but no space.
        """
        raise MissingHook(f"{type(self).__name__} trains no space of its own: take what it trains from module().")

    def parts(self) -> Mapping[str, nn.Module]:
        """Return the trained parts other than the space, such as a decoder or heads; none by default."""
        return {}


@dataclass(frozen=True)
class Stage:
    """One training of a recipe that differs from the others in more than its trainee.

    Args:
        data: its rows; None: the training rows of the recipe.
        val: its validation rows; None: those of the recipe where ``data`` is None, and none otherwise. A stage without
            validation rows ignores patience.
        fit: settings that differ from those of the recipe, such as {"lr": 1e-3, "epochs": 1}.
    """

    trainee: Trainee
    data: Table[Any] | None = None
    val: Table[Any] | None = None
    fit: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Args:
        parts: name -> other trained modules that are used after the training.
        log: records of all stages, oldest first.
        steps: optimiser steps of all stages.
        seconds: that these steps took: of the processor on a CPU, of the clock elsewhere.
    """

    space: Space
    parts: Mapping[str, nn.Module] = field(default_factory=dict)
    log: Sequence[Mapping[str, Any]] = ()
    steps: int = 0
    seconds: float = 0.0
    stages: int = 1


Learns = Callable[[str], bool]
"""Whether a parameter of the space's module, given by name, may be trained."""


def everything(name: str) -> bool:
    """Return True: every parameter may be trained."""
    return True


BASE = "base."
"""What the names of a model begin with that is inside another one, as in a space with a language model."""


def of_image(name: str) -> bool:
    """Return whether a parameter belongs to the image tower of a model of open_clip, transformers, or lite.

    The model may be the base of another one, whose names then begin with "base.".
    """
    return name.removeprefix(BASE).startswith(("visual", "vision_model", "image"))


class Rewriter(Method):
    """Role of ``rewrite``, and of systems that rewrite texts before a training.

    ``fit`` returns a writer, so that rewrites are recorded, stored and reused as other texts are.
    """

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Writer:
        """Return a writer that takes a text as ``about`` and returns up to ``n`` other wordings of it.

        Raises:
            MissingPart: the kit has no writer.
        """


class Recipe(Method):
    """Role of ``pretrain`` and ``finetune`` for a training that is more than an objective.

    It may have a teacher, random draws, views or several stages.

    Attributes:
        weighs: whether one caption of a row is drawn each time that it is seen, so that weights of captions count.
        passes_once: whether ``stages`` yields one trainee and looks at no row before, so that rows may pass by once.
    """

    weighs: ClassVar[bool] = True
    passes_once: ClassVar[bool] = False

    def of_stream(self, kit: Kit, run: Run, learns: Learns = everything) -> Trainee:
        """Return the one trainee for pairs that pass by once, whose rows it has not seen before.

        Args:
            kit: as for ``stages``.
            run: as for ``stages``.
            learns: as for ``stages``.

        Raises:
            UsageError: the recipe reads its rows more than once.
            MissingPart: the kit lacks a part.
        """
        if not self.passes_once:
            raise UsageError(f"{self.card.slug} reads its rows more than once: give a table, not a stream.")
        (trainee,) = self.stages(kit, None, Evidence(), run, learns)
        assert isinstance(trainee, Trainee)  # a stage has rows or settings of its own
        return trainee

    @abstractmethod
    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee | Stage]:
        """Yield the trainees in order; each is trained in place before the next is requested.

        So a later stage may start from ``trained()`` of an earlier one. The space in the kit stays unchanged. A stage
        with rows or settings of its own is a ``Stage``.

        Args:
            kit: the backbone, and other parts that the card names.
            classes: names of the classes in the column "label"; None where rows have captions.
            evidence: the loop trains on ``evidence.train``.
            run: seed, device and world.
            learns: which parameters of the space may be trained; heads of the recipe always are.

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
