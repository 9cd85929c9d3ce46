"""Training inside a method's ``fit``, with plain tensors as the result; with checkpoints where a caller wants them."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diptych.core import Run, Table, Trainee, UsageError
from diptych.core.ranges import at_least, check
from diptych.train.began import beginning_with
from diptych.train.loop import train
from diptych.train.resume import OtherTraining
from diptych.train.schedule import Fit
from diptych.train.stopping import announced


@dataclass
class _Place:
    """Where the trainings of a fit write, in their order."""

    folder: Path | None
    resume: bool
    save_every: int
    workers: int
    going_on: Callable[[], None] | None = None
    begun: int = 0

    def __post_init__(self) -> None:
        check(self, at_least(1), "save_every")
        check(self, at_least(0), "workers")

    def next(self, fit: Fit, run: Run) -> tuple[Fit, Run]:
        """Return the settings and the run of the next training."""
        self.begun += 1
        run = replace(run, out=self.folder and self.folder / f"training-{self.begun}", workers=self.workers)
        return (fit if run.out is None else replace(fit, save_every=fit.save_every or self.save_every)), run

    def resumed(self) -> None:
        """Say once that a training goes on, where one that may has begun to."""
        if self.going_on is not None:
            self.going_on()
        self.going_on = None


_place: ContextVar[_Place | None] = ContextVar("place", default=None)


@contextmanager
def checkpointed(
    folder: Path | None,
    *,
    resume: bool = False,
    save_every: int = 500,
    workers: int = 0,
    of: Mapping[str, str] | None = None,
    going_on: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Let the trainings inside a method's ``fit`` write log and checkpoints, so that a fit that was stopped goes on.

    The n-th training of the block writes to ``folder / "training-n"``. Ctrl-C and SIGTERM end it after a step with a
    checkpoint, as in ``train``. A block that resumes must do what the stopped one did: trainings that were finished are
    loaded, the stopped one goes on to the same bits, and later ones begin. What a fit computes beside its trainings is
    computed again.

    Args:
        folder: of this fit; None: there are neither checkpoints nor a log.
        resume: go on with a fit that was stopped; start from the beginning if there is none.
        save_every: steps between checkpoints, >= 1, where a method's settings say nothing.
        workers: processes that load and augment, >= 0; they change no result. The method's views must not use a GPU
            then.
        of: what else must be as it was, by name, such as the backbone: a training that began with something else, or
            with other rows, is not resumed.
        going_on: called where the first training goes on from a checkpoint, once nothing refuses it any more.

    Raises:
        UsageError: a number is out of its range, or, in the block, a training in the folder that is not resumed or has
            other settings.

    Example:
        >>> import tempfile
        >>> from diptych.core import Texts
        >>> from diptych.features.vectors import Vectors
        >>> from diptych.train.step import Step
        >>> line, x = nn.Linear(1, 1), Vectors(torch.tensor([[0.0], [1.0]]), Texts(("a", "b")))
        >>> step = Step(line, lambda row, g: {"x": row.item}, lambda b: {"square": (line(b["x"]) - 3).square().mean()})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with checkpointed(Path(folder)):
        ...         learnt = train_parameters(step, Table(x), Fit(0.1, 2, 4), Run())
        ...     (Path(folder) / "training-1" / "log.jsonl").exists()
        True
    """
    token = _place.set(_Place(folder and Path(folder), resume and folder is not None, save_every, workers, going_on))
    try:
        with beginning_with(of):
            yield
    finally:
        _place.reset(token)


@contextmanager
def resumable(folder: Path | None, *, workers: int = 0, of: Mapping[str, str] | None = None) -> Iterator[None]:
    """Let a fit inside the block, and the writing of its result, go on where an earlier one was stopped.

    Checkpoints and logs of its trainings lie beside the folder, in ``NAME.training``, until the block has ended. A fit
    that goes on warns of it.

    Args:
        folder: where the result will be written, see ``checkpointed`` for what the fit must do again; None, or one that
            holds something: nothing is kept.
        workers: see ``checkpointed``.
        of: see ``checkpointed``.

    Raises:
        UsageError: the training that was stopped has other settings, or began with other rows or with another ``of``;
            it says which, and what to remove.

    Example:
        >>> with resumable(None):
        ...     pass
    """
    if folder is None or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        with checkpointed(None, workers=workers):
            yield
        return
    beside = folder.with_name(f"{folder.name}.training")

    def going_on() -> None:
        warnings.warn(f"A training that was stopped goes on: remove {beside} to begin anew.", stacklevel=3)

    block = checkpointed(beside, resume=True, workers=workers, of=of, going_on=going_on)
    with block, announced(warnings.warn, "the same command goes on from there", beside):
        try:
            yield
        except OtherTraining as error:
            raise UsageError(
                f"The training of {folder} that was stopped has other settings ({error.differences}): give the same, "
                f"or remove {beside} to begin anew."
            ) from None
    shutil.rmtree(beside, ignore_errors=True)


def train_parameters(
    trainee: Trainee,
    data: Table[Any],
    fit: Fit,
    run: Run,
    parameters: Iterable[str] | None = None,
    *,
    val: Table[Any] | None = None,
) -> dict[str, Tensor]:
    """Train the trainee's module and return its tensors. Modified in place.

    There are neither checkpoints nor a log, unless a block of ``checkpointed`` asks for them. Gradients are switched on
    for the training, even inside ``torch.no_grad``.

    Args:
        trainee: what is trained.
        data: rows.
        fit: the settings.
        run: seed, device and precision; workers and folder are those of ``checkpointed``, and there are none without.
        parameters: names of the tensors that are returned; () returns none, None returns all.
        val: rows for early stopping.

    Returns:
        Name -> copy of the tensor on the CPU, see ``copies``.

    Raises:
        MissingExtra, UsageError, DataError, Diverged: as ``train``.
    """
    place = _place.get()
    fit, run = (fit, replace(run, out=None, workers=0)) if place is None else place.next(fit, run)
    with torch.enable_grad():
        resume, resumed = place is not None and place.resume, None if place is None else place.resumed
        train(trainee, data, fit, run, val=val, resume=resume, resumed=resumed)
    return copies(trainee.module(), parameters)


def copies(module: nn.Module, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    """Return copies on the CPU of a module's parameters and buffers of these names; None returns all.

    Example:
        >>> sorted(copies(nn.Linear(2, 1)))
        ['bias', 'weight']
    """
    state = module.state_dict()
    return {name: state[name].detach().cpu().clone() for name in (state if names is None else names)}
