"""What a training changes: weights, optimiser states, their moving average and the best so far; and its checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from diptych.core import ParamGroup, Run, Trainee
from diptych.train import checkpoint, distributed
from diptych.train.batch_norm import statistics
from diptych.train.groups import by_phase, make_optimizer, train_mode
from diptych.train.precision import Precision
from diptych.train.schedule import Fit

if TYPE_CHECKING:
    from diptych.train.sharded import Sharded


class Weights:
    """The module of a trainee, on the device of a run, and what belongs to its training.

    Attributes:
        module: of the trainee.
        parameters: name -> parameter of the module.
        groups: phase -> the groups that step after it.
        optimizers: phase -> the optimiser of these groups.
        names: of all trained parameters.
        sharded: divides them over the processes; None: they are whole.
        ema: name -> moving average of a trained parameter, or of a running statistic of BatchNorm, which belongs to the
            weights; {} where the fit has none.
        best: name -> tensor of the module at the lowest validation value; {} without patience.

    Args:
        precision: its scaler is written with the rest.
    """

    def __init__(self, trainee: Trainee, fit: Fit, run: Run, precision: Precision) -> None:
        self.fit, self.run, self.precision = fit, run, precision
        self.module = trainee.module().to(torch.device(run.device))
        self.groups = by_phase(trainee.groups(), dict(self.module.named_parameters()), trainee.phases)
        self.names = [n for g in self.all_groups() for n in g.names]
        distributed.equalise(self.module, run.world)
        self.sharded = _divided(trainee, self.names, run, fit) if fit.shard else None
        self.parameters = dict(self.module.named_parameters())
        self.optimizers = {phase: make_optimizer(groups, self.parameters, fit) for phase, groups in self.groups.items()}
        self.trained = {self.parameters[n] for n in self.names}
        still = {n: p for n, p in self.parameters.items() if p not in self.trained}
        self.still = {} if run.out is None else checkpoint.sums(still)
        self.followed: dict[str, Tensor] = {n: self.parameters[n] for n in self.names} | statistics(self.module)
        self.ema = {n: t.detach().clone() for n, t in self.followed.items()} if fit.ema is not None else {}
        self.best: dict[str, Tensor] = {}

    def all_groups(self) -> list[ParamGroup]:
        """Return the groups of all phases."""
        return [g for groups in self.groups.values() for g in groups]

    def open(self, phase: str) -> None:
        """Require gradients for the groups of a phase alone."""
        for group in self.all_groups():
            for name in group.names:
                self.parameters[name].requires_grad_(not group.phases or phase in group.phases)

    def of_phase(self, phase: str) -> list[nn.Parameter]:
        """Return the parameters that step after a phase."""
        return [p for group in self.optimizers[phase].param_groups for p in group["params"]]

    def averaged_over(self, phase: str) -> list[nn.Parameter]:
        """Return those of them whose gradients are averaged over the processes; those of divided ones are already."""
        return [p for p in self.of_phase(phase) if self.local(p) is p]

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average towards the present weights."""
        for name, average in self.ema.items():
            self.local(average).lerp_(self.local(self.followed[name].detach()), 1 - (self.fit.ema or 0.0))

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the averaged weights, where there are some, in eval mode."""
        current = {n: self.followed[n].detach().clone() for n in self.ema}
        self._set(self.ema)
        self.module.eval()
        try:
            yield
        finally:
            train_mode(self.module, self.trained)
            self._set(current)

    def whole(self) -> AbstractContextManager[None]:
        """Have whole weights for a time, to read."""
        return contextlib.nullcontext() if self.sharded is None else self.sharded.whole()

    def keep_best(self) -> None:
        """Store a copy of the present weights as the best."""
        self.best = {n: t.detach().clone() for n, t in self.module.state_dict().items()}

    def end(self) -> None:
        """Load the result of the training: the average, or the best weights where there is patience."""
        self._set(self.ema)
        self.module.load_state_dict(self.best, strict=False)

    @torch.no_grad()
    def finite(self) -> bool:
        """Return whether the trained weights and their average are finite, and no buffer has a NaN, in all processes.

        Buffers may have infinities, as the masks of texts have.
        """
        trained = [self.local(self.parameters[n]) for n in self.names] + [self.local(t) for t in self.ema.values()]
        bad = [~t.isfinite().all() for t in trained]
        bad += [b.isnan().any() for b in self.module.buffers() if b.is_floating_point()]
        device = torch.device(self.run.device)  # parts of divided weights may lie elsewhere
        return not distributed.most([int(torch.stack([b.to(device) for b in bad]).any())], self.run.world)[0]

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write a checkpoint: the first process all of it, or each its part of divided weights.

        Args:
            name: of its folder, see ``checkpoint.save``.
            state: all else, as plain data for JSON.
        """
        distributed.equalise(self.module, self.run.world, buffers_only=True)
        first = self.run.world.rank == 0
        if self.run.out is None or not (first or self.sharded):
            return
        names: dict[Tensor, str] = {p: n for n, p in self.parameters.items()}
        tensors = {f"optimizer-{phase}": checkpoint.optimizer_tensors(o, names) for phase, o in self.optimizers.items()}
        frozen = checkpoint.unchanged({n: self.parameters[n] for n in self.still}, self.still)
        module = {n: t for n, t in self.module.state_dict().items() if n not in frozen}
        tensors |= {"module": module, "ema": self.ema, "best": {n: t for n, t in self.best.items() if n not in frozen}}
        folder, parts = self.run.out / "checkpoints", None
        if self.sharded is not None:
            parts = folder / f".parts-{name}"
            if distributed.most([(folder / name).exists()], self.run.world)[0]:
                return
            self.sharded.write(parts, tensors)
            tensors = {}
        if first:
            state = {**state, "scaler": self.precision.scaler.state_dict(), "frozen": frozen}
            checkpoint.save(folder, name, tensors, state, self.fit.keep, parts)

    def close(self) -> None:
        """Give the module whole weights at the end of a training."""
        if self.sharded is not None:
            self.sharded.undo()

    def load(self, tensors: dict[str, dict[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Load a checkpoint. Modified in place."""
        tensors = tensors if self.sharded is None else self.sharded.divided(tensors)
        self.module.load_state_dict(tensors["module"], strict=False)  # what is frozen is not in it
        for name, average in self.ema.items():
            if name in tensors["ema"]:  # checkpoints of earlier versions have no statistics
                average.copy_(tensors["ema"][name])
        names: dict[Tensor, str] = {p: n for n, p in self.parameters.items()}
        for phase, optimizer in self.optimizers.items():
            optimizer.state.clear()  # of a training that goes back
            checkpoint.load_optimizer(optimizer, names, tensors[f"optimizer-{phase}"])
        if state["scaler"]:
            self.precision.scaler.load_state_dict(state["scaler"])
        self.best = tensors.get("best", {})

    def local(self, x: Tensor) -> Tensor:
        """Return this process's part of a divided tensor, in the same memory; others as they are."""
        return x if self.sharded is None else self.sharded.local(x)

    @torch.no_grad()
    def _set(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.local(self.followed[name]).copy_(self.local(value))


def _divided(trainee: Trainee, names: Sequence[str], run: Run, fit: Fit) -> Sharded:
    from diptych.train.sharded import Sharded  # loads the half of torch that few trainings need

    return Sharded(trainee, names, run, blocks=fit.shard_blocks, offload=fit.shard_offload)
