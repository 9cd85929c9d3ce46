"""One optimisation step: losses, gradients over batches and processes, clipping, and the optimisers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diptych.core import Clock, Diverged, Run, Trainee
from diptych.train import distributed
from diptych.train.averaging import Averaging
from diptych.train.batches import Batch
from diptych.train.precision import Precision
from diptych.train.schedule import Fit
from diptych.train.weights import Weights

NORM = "gradient_norm/"
"""What the names of gradient norms begin with among the values of a step."""
LEAST_SCALE = 1.0
"""Scale of fp16 below which a gradient that is not finite is no overflow: the scaler halves it at each (ours)."""


class Steps:
    """Takes the steps of one training.

    Args:
        weights: those of its module, in training mode.
    """

    def __init__(self, trainee: Trainee, weights: Weights, fit: Fit, run: Run, precision: Precision) -> None:
        self.trainee, self.weights, self.fit, self.run, self.precision = trainee, weights, fit, run, precision
        self.device = torch.device(run.device)
        self.bad = torch.zeros((), dtype=torch.bool, device=self.device)  # no step after a bad one moves by a gradient
        self.averaging = {phase: Averaging(weights.averaged_over(phase), run.world) for phase in weights.optimizers}

    def take(self, batches: Sequence[Batch], clock: Clock, lr: float, *, read: bool = True) -> dict[str, float]:
        """Take a step, and return the means of its losses and gradient norms over the processes.

        Args:
            batches: those of the step, on the device.
            clock: of the step.
            lr: learning rate where the factor of a group is 1.
            read: whether the host reads them, and so waits for the device. Otherwise {} is returned, and gradients that
                are not finite become 0 on the device, in this step and in those after it, until ``sound`` is asked or a
                step is read. On a CPU, and with the scaler of fp16, all steps are read.

        Raises:
            Diverged: a loss or a gradient of any process is not finite, in this step, before an optimiser of that phase
                has moved, or in one before that was not read.
        """
        read = read or self.reads_all
        seed_all = torch.default_generator.manual_seed if self.device.type == "cpu" else torch.manual_seed
        seed_all(self.run.integer(f"dropout/{clock.step}/{self.run.world.rank}"))
        for optimizer in self.weights.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = lr * group["factor"]
        values: dict[str, float] = {}
        for phase in self.trainee.phases:
            self.weights.open(phase)
            seen = self._backward(batches, phase, clock)
            values |= self._finite(seen, clock) if read else self._guarded(seen, phase)
            if phase in self.weights.optimizers:
                self.precision.scaler.step(self.weights.optimizers[phase])
        self.precision.scaler.update()
        with torch.no_grad():
            self.trainee.after("step", clock)
        self.weights.follow()
        return values

    @property
    def reads_all(self) -> bool:
        """Whether the host reads the losses of all steps: where they are in its memory, or the scaler reads anyway."""
        return self.device.type == "cpu" or self.precision.scaler.is_enabled()

    def sound(self) -> bool:
        """Return whether all steps since ``forget`` were finite, by a read from the device."""
        return not bool(self.bad)

    def forget(self) -> None:
        """Begin anew, with the weights of a checkpoint."""
        self.bad.fill_(False)

    def close(self) -> None:
        """Leave the parameters as they were given."""
        for averaging in self.averaging.values():
            averaging.close()

    def _backward(self, batches: Sequence[Batch], phase: str, clock: Clock) -> dict[str, Tensor]:
        """Compute the gradients of a phase, clipped; return its losses and the gradient norm before."""
        seen: dict[str, Tensor] = {}
        averaging = self.averaging.get(phase)
        for last, losses in self._losses(batches, phase, clock):
            total = sum(losses.values(), torch.zeros((), device=self.device))
            for name, value in losses.items():
                seen[f"{phase}/{name}"] = seen.get(f"{phase}/{name}", 0) + value.detach()
            if last and averaging is not None:
                averaging.start()
            self.precision.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        if averaging is not None:
            averaging.finish()
            self.precision.scaler.unscale_(self.weights.optimizers[phase])
            seen[f"{NORM}{phase}"] = self._clip(phase)
        return seen

    def _losses(
        self, batches: Sequence[Batch], phase: str, clock: Clock
    ) -> Iterator[tuple[bool, Mapping[str, Tensor]]]:
        """Yield (whether they are the last, losses), batch by batch or of all at once; their sum is the step's loss."""
        if self.fit.cached and len(batches) > 1:
            with self.precision.autocast():
                losses = self._called(self.trainee.cached_losses, batches, phase, clock)
            yield True, losses
            return
        for number, batch in enumerate(batches, 1):
            with self.precision.autocast():
                losses = self._called(self.trainee.losses, batch, phase, clock)
            yield number == len(batches), {name: value / len(batches) for name, value in losses.items()}

    def _called(self, losses: Callable[..., Mapping[str, Tensor]], *given: Any) -> Mapping[str, Tensor]:
        return losses(*given) if self.weights.sharded is None else self.weights.sharded(losses, *given)

    def _clip(self, phase: str) -> Tensor:
        """Clip the gradients of a phase, and return their norm before."""
        parameters = self.weights.of_phase(phase)
        if self.weights.sharded is not None:
            return self.weights.sharded.clip([p.grad for p in parameters if p.grad is not None], self.fit.clip)
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.fit.clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.fit.clip, norm)
        return norm

    def _finite(self, seen: Mapping[str, Tensor], clock: Clock) -> dict[str, float]:
        """Return the means of a phase's losses, and its gradient norm, over the processes: the one read of a phase.

        Raises:
            Diverged: a loss of any process is not finite, or a gradient, which the scaler of fp16 does not pass over.
        """
        *numbers, before = distributed.means([*seen.values(), self.bad], self.run.world)
        means = dict(zip(seen, numbers, strict=True))
        if before:
            raise Diverged(self._advice(f"in a step before {clock.step}, the first since the losses were read"))
        bad = {name for name, value in means.items() if not math.isfinite(value)}
        losses = {name for name in bad if not name.startswith(NORM)}
        scaler = self.precision.scaler
        if bad and (losses or not scaler.is_enabled() or scaler.get_scale() < LEAST_SCALE):
            raise Diverged(self._advice(f"in step {clock.step} ({means})", "losses" if losses else "gradients"))
        return means

    def _guarded(self, seen: Mapping[str, Tensor], phase: str) -> dict[str, float]:
        """Let the device set the gradients of a phase to 0 where it, or a step before, is not finite."""
        means = distributed.reduced(list(seen.values()), self.run.world)
        self.bad.logical_or_(~means.isfinite().all())
        for p in self.weights.of_phase(phase) if phase in self.weights.optimizers else ():
            if p.grad is not None:
                self.weights.local(p.grad).masked_fill_(self.bad, 0.0)
        return {}

    def _advice(self, where: str, what: str = "losses or gradients") -> str:
        return f"The {what} are not finite {where}: lower the learning rate of {self.fit.lr:g}, clip, or use fp32."
