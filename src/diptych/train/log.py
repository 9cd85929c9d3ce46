"""Where a training stands, and its log: JSON lines, and TensorBoard or Weights & Biases where installed."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, overload

from diptych.core import UsageError
from diptych.core.errors import need_extra
from diptych.data.files import write_whole

Record = dict[str, Any]


@dataclass(frozen=True)
class Position:
    """The position of a training between two steps.

    Args:
        step: finished steps.
        epoch: finished epochs.
        last: place of the last batch used in this epoch, see ``Source.epoch``; None at the start.
        best: lowest validation value so far.
        waited: epochs since then.
        stopped: whether ``patience`` ended the training.
        seconds: that its steps took, as ``Fit.seconds`` counts them.
        bad_steps: steps that were not finite, after each of which the training went back to a checkpoint.
    """

    step: int = 0
    epoch: int = 0
    last: Any = None
    best: float | None = None
    waited: int = 0
    stopped: bool = False
    seconds: float = 0.0
    bad_steps: int = 0


@dataclass(frozen=True)
class History:
    """The result of the loop; the weights are in the trainee's module.

    Args:
        position: where the training ended.
        records: the log, oldest first.
    """

    position: Position
    records: Sequence[Record]


class Records(Sequence[Record]):
    """Records in their order, those of files read anew each time, so that a long log takes no memory.

    Args:
        parts: files of a ``Log``, of which one that is absent has none, and lists.

    Example:
        >>> log = Records([{"step": 1}], [{"step": 1}, {"step": 2}])
        >>> len(log), log[-1], log == [{"step": 1}, {"step": 1}, {"step": 2}]
        (3, {'step': 2}, True)
    """

    def __init__(self, *parts: Path | list[Record]) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[Record]:
        for part in self.parts:
            yield from part if isinstance(part, list) else _lines(part)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return list(self)[index]
        if index >= 0:
            some = list(islice(self, index, index + 1))
        else:
            last = deque(self, maxlen=-index)
            some = [last[0]] if len(last) == -index else []
        if not some:
            raise IndexError(f"record {index} of {len(self)}")
        return some[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # what a file holds changes

    def __add__(self, other: Records) -> Records:
        return Records(*self.parts, *other.parts)


class Log:
    """The records of one training, in ``records``, ``folder/log.jsonl`` and ``folder/tensorboard``.

    Args:
        folder: where to write; None keeps the records in memory, and otherwise they are in the file alone.
        since: step from which a resumed training continues; later records in the file are removed.
        epoch: in which it continues; records of that step and a later epoch are removed too. None: they stay.
        sent: settings with which the records also go to Weights & Biases, by its own environment names
            (WANDB_PROJECT, WANDB_MODE, ...); None: they stay here.
        writes: False in all but the first of several processes, which have the records of the first.

    Raises:
        MissingExtra: they are to be sent, and wandb is not installed.
        UsageError: the folder has another log.
    """

    def __init__(
        self,
        folder: Path | None,
        since: int = 0,
        sent: Mapping[str, Any] | None = None,
        *,
        epoch: int | None = None,
        writes: bool = True,
    ) -> None:
        self._path, self._in_memory = folder and folder / "log.jsonl", list[Record]()
        self._file: TextIO | None = None
        self._board, self._started = None, time.perf_counter()
        self.records = Records(self._in_memory if self._path is None else self._path)
        self._sent: Any = None if sent is None else _weights_and_biases(folder, sent)
        if folder is None or not writes:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.rewind(since, epoch)
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(folder / "tensorboard", purge_step=since + 1)

    def write(self, step: int, values: Mapping[str, float | int]) -> None:
        """Add the record of a step, with the seconds since this log was opened."""
        record = {"step": step, **values, "seconds": round(time.perf_counter() - self._started, 3)}
        if self._path is None:
            self._in_memory.append(record)
        if self._file:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        if self._board:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        if self._sent:
            self._sent.log(record)

    def rewind(self, step: int, epoch: int | None = None) -> None:
        """Remove the records of later steps, in memory or in the file.

        Args:
            step: the last that stays.
            epoch: the last of that step that stays: the end of an epoch is measured at its last step, and a training
                that goes on before it measures again. None: all records of the step stay.
        """

        def stays(record: Record) -> bool:
            return record["step"] < step or (
                record["step"] == step and (epoch is None or record.get("epoch", epoch) <= epoch)
            )

        if self._path is None:
            self._in_memory[:] = filter(stays, self._in_memory)
            return
        if self._file:
            self._file.close()
        whole = self._path

        def earlier(draft: Path) -> None:
            with draft.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(r) + "\n" for r in filter(stays, _lines(whole)))

        write_whole(whole, earlier, overwrite=True)
        self._file = whole.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the files."""
        if self._file:
            self._file.close()
        if self._board:
            self._board.close()
        if self._sent:
            self._sent.finish()


def _weights_and_biases(folder: Path | None, settings: Mapping[str, Any]) -> Any:
    need_extra("wandb", "--log wandb")
    import wandb

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "diptych"),
        name=folder.name if folder else None,
        dir=str(folder) if folder else None,
        config=dict(settings),
    )
    run.define_metric("*", step_metric="step")  # measurements of a step come after its losses
    return run


def _lines(path: Path) -> Iterator[Record]:
    """Yield the records of a log that is there; the last line is left out where a kill has cut it.

    Raises:
        UsageError: the file holds something else.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.endswith("\n"):
                return
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict) or "step" not in record:
                raise UsageError(f"{path} is no log of a training: give another folder.")
            yield record
