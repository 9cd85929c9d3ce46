"""The training loop of all methods: it trains any Trainee by the settings of a Fit.

All random numbers follow from the seed of the run and the step or epoch.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from diptych.core import Clock, DataError, DiptychError, Diverged, Progress, Run, Stream, Table, Trainee, UsageError
from diptych.train import distributed
from diptych.train.batch_norm import synchronised
from diptych.train.batches import Batch, Source, open_source, validation_source
from diptych.train.began import check_beginning
from diptych.train.groups import training
from diptych.train.layers import compiled
from diptych.train.length import Length
from diptych.train.lock import sole
from diptych.train.log import History, Log, Position
from diptych.train.precision import Precision
from diptych.train.resume import reopened, settings
from diptych.train.schedule import Fit
from diptych.train.steps import Steps
from diptych.train.stopping import Stop, stopped_after
from diptych.train.streams import Streamed
from diptych.train.trial import timer
from diptych.train.weights import Weights

Reading = Generator[tuple[Any, list[Batch]]]
"""(Place of the last batch, batches) of each step of an epoch."""


def train(
    trainee: Trainee,
    data: Table[Any] | Stream[Any] | Streamed,
    fit: Fit,
    run: Run,
    *,
    val: Table[Any] | None = None,
    resume: bool = False,
    watch: Callable[[int], Mapping[str, float]] | None = None,
    resumed: Callable[[], None] | None = None,
) -> History:
    """Train the trainee's module. Modified in place.

    The result depends on the trainee, the data, ``fit`` and ``run.seed``. It does not depend on the number of workers,
    on the gradient mode around the call and, up to rounding and with a table, on the number of processes. A training
    that is killed and resumed ends with the same bits in fp32 with the same number of threads.

    Processes stop together: at a signal to one of them, at losses or gradients that are not finite, and at a batch that
    one cannot read. What is not finite is neither stepped by nor written to a checkpoint; ``fit.skip_bad_steps`` lets
    the training go on from its latest checkpoint.

    Args:
        trainee: what is trained.
        data: rows, or a stream, which needs ``fit.steps`` or ``fit.seconds``; a ``Streamed`` says how it is read.
        fit: the settings.
        run: seed, device, precision ("bf16" is mixed), workers, and the folder ``out`` of checkpoints and log (None:
            nothing is written).
        val: rows for ``Trainee.validate`` after every epoch.
        resume: continue from the newest checkpoint in ``run.out``; start from the beginning if there is none. A fit
            that is longer than that of the checkpoint lengthens the training, also a finished one, whose last epoch is
            over even where it was cut short.
        watch: step -> measures of the present weights (the averaged ones, where there is an average) for the log. It
            is called every ``fit.watch_every`` steps, and may raise to end the training; Diverged is a bad step.
        resumed: called once where the training goes on from a checkpoint, after all that may refuse it.

    Returns:
        The last position, and the log.

    Raises:
        UsageError: groups, fit, run and data contradict each other, or ``run.out`` has another training, or another
            process trains there.
        DataError: the data do not fill one step, or a checkpoint is damaged.
        Diverged: a loss, a gradient or a weight is not finite, once more than ``fit.skip_bad_steps`` allows.
        TrialEnded: a block of ``train.trial`` asked for a few steps alone.

    Example:
        A scalar w is trained towards 3:

        >>> from torch import nn
        >>> from diptych.core import Texts
        >>> from diptych.features.vectors import Vectors
        >>> from diptych.train.step import Step
        >>> module = nn.ParameterDict({"w": nn.Parameter(torch.zeros(()))})
        >>> step = Step(module, lambda row, g: {"x": row.item}, lambda batch: {"square": (module["w"] - 3).square()})
        >>> rows = Table(Vectors(torch.zeros(4, 1), Texts(("a", "b", "c", "d"))))
        >>> history = train(step, rows, Fit(0.3, 2, 20, optimizer="adam", decay=0.0), Run())
        >>> history.position.step, history.position.epoch, round(module["w"].item())
        (40, 20, 3)
    """
    distributed.check(run)
    if (timing := timer(fit, run)) is not None:
        fit, run, watch, val, resume = timing.fit, timing.run, timing.watch, None, False
    with sole(run), torch.enable_grad():  # the caller may be in torch.no_grad()
        check_beginning(run, data, resume)
        with contextlib.closing(_Loop(trainee, data, fit, run, val, watch)) as loop:
            if timing is not None:
                timing.planned = loop.steps
            history = loop.run_from(resume, resumed)
    if timing is not None:
        timing.end()
    return history


class _Loop:
    """One training: its position, steps, log and checkpoints."""

    def __init__(
        self,
        trainee: Trainee,
        data: Table[Any] | Stream[Any] | Streamed,
        fit: Fit,
        run: Run,
        val: Table[Any] | None,
        watch: Callable[[int], Mapping[str, float]] | None,
    ) -> None:
        if fit.patience is not None and val is None:
            raise UsageError(f"patience={fit.patience} needs validation rows: give val, or patience=None.")
        if fit.skip_bad_steps and run.out is None:
            raise UsageError(
                f"skip_bad_steps={fit.skip_bad_steps} goes back to a checkpoint, and none is written: give the run a "
                f"folder, or skip_bad_steps=0."
            )
        self.trainee, self.fit, self.run, self.watch = trainee, fit, run, watch
        self.precision = Precision(run)
        self.device = torch.device(run.device)
        self.weights = Weights(trainee, fit, run, self.precision)
        self.source: Source = open_source(data, trainee, fit, run)
        self.position = Position()
        self.length = Length(fit, self.device.type)
        self.steps = self._planned()
        if fit.epochs is not None:  # only now are its steps known
            fit.schedule.check_length(self.steps)
        self.val = None if val is None else validation_source(val, trainee, fit, run)
        self.stopping = False
        self.saved = -1  # step of the latest checkpoint
        self.since = (0, 0.0)  # step and time of the last log record

    def run_from(self, resume: bool, resumed: Callable[[], None] | None) -> History:
        first = self.run.world.rank == 0
        if self._restore(resume) and resumed is not None:
            resumed()
        if self.fit.skip_bad_steps and self.position.step == 0:
            self._save()
        sent = self.fit.as_dict() if self.fit.log and first else None
        log = Log(self.run.out, self.position.step, sent, epoch=self.position.epoch, writes=first)
        self.since = (self.position.step, time.perf_counter())
        with (
            Stop() as stop,  # whose signal may end the process, so all else is closed before
            contextlib.closing(log),
            self.run.seeded("train"),
            self.run.track("train", None if self.fit.seconds else self.steps) as bar,
            compiled(self.weights.module if self.fit.compile else None),
            training(self.weights.module, set(self.weights.names)),
            synchronised(self.weights.module, self.run.world),
            contextlib.closing(Steps(self.trainee, self.weights, self.fit, self.run, self.precision)) as steps,
        ):
            bar.advance(self.position.step)
            while not self._over() and not self.position.stopped and not self.stopping:
                with contextlib.closing(self._read()) as read:
                    self._epoch(read, steps, log, bar, stop)
                self._save()
            if first and self.run.out is not None:
                stop.sentence = stopped_after(self.position.step, None if self.fit.seconds else self.steps)
            if self.stopping:
                distributed.most([0], self.run.world)  # the first process may still write
            else:
                self.weights.end()
        self.weights.close()
        return History(self.position, log.records)

    def close(self) -> None:
        """End the workers now: an error keeps what it passed alive, and they would wait for whoever forgets it."""
        for source in (self.source, self.val):
            if source is not None:
                source.close()

    def _planned(self) -> int:
        return self.length.steps(self.position.step, self.position.seconds, self.source.count)

    def _over(self) -> bool:
        return self.length.over(self.position.step, self.position.seconds, self.steps)

    def _epoch(self, read: Reading, steps: Steps, log: Log, bar: Progress, stop: Stop) -> None:
        start = self.length.now()
        while (step := self._next(read, stop)) is not None:
            taken = self._step(steps, *step, log)
            spent = self.length.now() - start
            if self.fit.seconds is not None:  # all processes end at the same step
                spent = distributed.mean(spent, self.run.world)
            self.position = replace(self.position, seconds=self.position.seconds + spent)
            self.steps = self._planned()
            bar.advance()
            if self._over():
                break
            saves = taken and self.fit.save_every and self.position.step % self.fit.save_every == 0
            if saves:
                taken = self._need_finite(steps, log)
            if taken and self.fit.watch_every and self.position.step % self.fit.watch_every == 0:
                saves = self._watch(steps, log) and saves
            if saves:  # after all records of this step: a training that goes on from here adds later ones alone
                self._save()
            start = self.length.now()
        self._need_finite(steps, log)
        if self.stopping:
            return
        if self.position.last is None:
            raise DataError(
                f"The data do not fill a step of {self.fit.accumulate} x {self.fit.batch} items: give a smaller batch."
            )
        self._end_epoch(steps, log)

    def _next(self, read: Reading, stop: Stop) -> tuple[Any, list[Batch]] | None:
        """Return the next step of the epoch; None where it ends, or where a signal stops the training.

        All processes end together: otherwise those that go on would wait for the others for ever.

        Raises:
            DataError: this process or another one cannot read its batch.
        """
        step: tuple[Any, list[Batch]] | None = None
        trouble: DiptychError | None = None
        if not stop.wanted():
            try:
                step = next(read, None)
            except DiptychError as error:
                trouble = error
        mine = (stop.wanted(), trouble is not None, step is None)
        signal, failed, ended = distributed.most(mine, self.run.world)
        if trouble is not None:
            raise trouble
        if failed:
            raise DataError(
                f"Another process cannot read its batch of step {self.position.step}: see what it says, and mend it."
            )
        if signal:
            stop.take(signal)
            self.stopping = True
        return None if ended or signal else step

    def _read(self) -> Reading:
        """Yield (place of the last batch, ``accumulate`` batches on the device) for the rest of the epoch."""
        batches = self.source.epoch(self.position.epoch, self.position.last)
        while len(some := list(islice(batches, self.fit.accumulate))) == self.fit.accumulate:
            yield some[-1][0], [_move(batch, self.device) for _, batch in some]

    def _step(self, steps: Steps, last: Any, batches: list[Batch], log: Log) -> bool:
        """Take a step; return False where it was bad and the training has gone back."""
        fit, position = self.fit, self.position
        lr = fit.lr * self.length.schedule(position.step, self.steps).factor(position.step, self.steps)
        try:
            logged = self._logs(position.step + 1)
            values = steps.take(batches, self._clock("step"), lr, read=logged)
        except Diverged as error:
            self._go_back(error, steps, last, log)
            return False
        self.position = replace(position, step=position.step + 1, last=last)
        if logged:
            log.write(self.position.step, {"epoch": position.epoch, "lr": lr, **values, **self._facts()})
        return True

    def _logs(self, step: int) -> bool:
        """Return whether a step is logged: the first, the last where it is known, and every ``log_every``-th."""
        return step == 1 or step % self.fit.log_every == 0 or (self.fit.seconds is None and step == self.steps)

    def _facts(self) -> dict[str, float]:
        """Return what the log has beside losses: facts of the trainee, and samples per second since the last record."""
        facts = self.trainee.facts()
        now, (step, then) = time.perf_counter(), self.since
        rate = (self.position.step - step) * self.fit.batch * self.fit.accumulate / max(now - then, 1e-9)
        self.since = (self.position.step, now)
        counts = {"skipped": self.source.skipped, "bad_steps": self.position.bad_steps}
        some = {name: count for name, count in counts.items() if count}
        return {**{name: float(v) for name, v in facts.items()}, **some, "samples_per_second": round(rate, 1)}

    def _need_finite(self, steps: Steps, log: Log) -> bool:
        """Go back where the weights are not finite, as finite gradients may make them; return False then.

        They are looked at before they are written or returned.
        """
        if steps.sound() and self.weights.finite():
            return True
        error = Diverged(
            f"The weights or a step are not finite after {self.position.step} steps: lower the learning rate of "
            f"{self.fit.lr:g}, clip, or use fp32."
        )
        self._go_back(error, steps, self.position.last, log)
        return False

    def _go_back(self, error: Diverged, steps: Steps, last: Any, log: Log) -> None:
        """Load the latest checkpoint, and go on after the batches of a bad step, all processes alike.

        The batches between the two are not read again: by the same weights they would lead to the same step.

        Args:
            error: raised where the fit allows no further bad step.
            steps: which begin anew.
            last: place of the last batch of the bad step.
            log: whose later records go.
        """
        if self.position.bad_steps >= self.fit.skip_bad_steps:
            raise error
        saved = reopened(self.run.out, True, self._settings(), self.weights.parameters)
        assert saved is not None  # there is one before the first step
        bad, before = self.position, Position(**saved[1]["place"])
        self.weights.load(*saved)
        steps.forget()
        self.position = replace(before, epoch=bad.epoch, last=last, seconds=bad.seconds, bad_steps=bad.bad_steps + 1)
        self.since = (self.position.step, time.perf_counter())
        if self.run.world.rank == 0:
            log.rewind(self.position.step, before.epoch)
        warnings.warn(f"{error} The training goes back to step {self.position.step}.", stacklevel=2)

    @torch.no_grad()
    def _end_epoch(self, steps: Steps, log: Log) -> None:
        clock = self._clock("epoch")
        distributed.equalise(self.weights.module, self.run.world, buffers_only=True)
        self.trainee.after("epoch", clock)
        self.position = replace(self.position, epoch=self.position.epoch + 1, last=None)
        if self.fit.watch_every is None and self.position.step < self.steps:
            self._watch(steps, log)
        if self.val is None:
            return
        with self.weights.averaged():
            batches = (_move(b, self.device) for _, b in self.val.epoch(0, None))
            with self.weights.whole(), self.precision.autocast():
                value = distributed.mean(self.trainee.validate(batches, clock), self.run.world)
            better = self.position.best is None or value < self.position.best
            if better and self.fit.patience is not None:
                self.weights.keep_best()
        waited = 0 if better else self.position.waited + 1
        stopped = self.fit.patience is not None and waited >= self.fit.patience
        best = value if better else self.position.best
        self.position = replace(self.position, best=best, waited=waited, stopped=stopped)
        log.write(self.position.step, {"epoch": self.position.epoch, "val": value})

    @torch.no_grad()
    def _watch(self, steps: Steps, log: Log) -> bool:
        """Write the measures of the present weights to the log; return False where these measure nothing finite, so
        that the training has gone back: finite weights may be so large that what they embed is not.

        One process may see it alone, as its rounding or its rows are its own; all go back together.
        """
        if self.watch is None:
            return True
        seen: Mapping[str, float] = {}
        error: Diverged | None = None
        try:
            with self.weights.averaged(), self.weights.whole():
                seen = self.watch(self.position.step)
        except Diverged as raised:
            error = raised
        if distributed.most([error is not None], self.run.world)[0]:
            error = error or Diverged(
                f"The measures of another process are not finite after {self.position.step} steps: see what it says."
            )
            if self.saved == self.position.step:  # the latest checkpoint has these very weights
                raise error
            self._go_back(error, steps, self.position.last, log)
            return False
        if not seen:
            return True
        names = sorted(seen)
        means = distributed.means([torch.tensor(seen[n]) for n in names], self.run.world)
        log.write(self.position.step, {"epoch": self.position.epoch, **dict(zip(names, means, strict=True))})
        return True

    def _clock(self, what: str) -> Clock:
        step, epoch = self.position.step, self.position.epoch
        return Clock(step, self.steps, epoch, self.run.generator(f"{what}/{step}"))

    def _settings(self) -> dict[str, Any]:
        return settings(self.fit, self.steps, self.run.seed, self.weights.groups)

    def _save(self) -> None:
        name = f"step-{self.position.step:08d}-epoch-{self.position.epoch:04d}"
        self.weights.save(name, {"place": asdict(self.position), "settings": self._settings()})
        self.saved = self.position.step

    def _restore(self, resume: bool) -> bool:
        saved = reopened(self.run.out, resume, self._settings(), self.weights.parameters)
        if saved is None:
            return False
        self.weights.load(*saved)
        self.position = Position(**saved[1]["place"])
        self.saved = self.position.step
        self.steps = self._planned()
        return True


def _move(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: _move(value, device) for name, value in batch.items()}
    return batch
