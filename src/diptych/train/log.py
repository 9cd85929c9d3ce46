"""Where a training stands, and its log: JSON lines, and TensorBoard or Weights & Biases where installed."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

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
    records: tuple[Record, ...]


class Log:
    """The records of one training, in ``records``, ``folder/log.jsonl`` and ``folder/tensorboard``.

    Args:
        folder: where to write; None keeps the records in memory alone.
        since: step from which a resumed training continues; later records in the file are removed.
        sent: settings with which the records also go to Weights & Biases, by its own environment names
            (WANDB_PROJECT, WANDB_MODE, ...); None: they stay here.

    Raises:
        MissingExtra: they are to be sent, and wandb is not installed.
        UsageError: the folder has another log.
    """

    def __init__(self, folder: Path | None, since: int = 0, sent: Mapping[str, Any] | None = None) -> None:
        self.records: list[Record] = []
        self._file: TextIO | None = None
        self._path, self._board, self._started = folder and folder / "log.jsonl", None, time.perf_counter()
        self._sent: Any = None if sent is None else _weights_and_biases(folder, sent)
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.rewind(since)
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(folder / "tensorboard", purge_step=since + 1)

    def write(self, step: int, values: Mapping[str, float | int]) -> None:
        """Add the record of a step, with the seconds since this log was opened."""
        record = {"step": step, **values, "seconds": round(time.perf_counter() - self._started, 3)}
        self.records.append(record)
        if self._file:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        if self._board:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        if self._sent:
            self._sent.log(record)

    def rewind(self, step: int) -> None:
        """Remove the records of later steps, in memory and in the file."""
        if self._path is not None and self._path.exists():
            self.records = _whole_lines(self._path)
        self.records = [r for r in self.records if r["step"] <= step]
        if self._path is None:
            return
        if self._file:
            self._file.close()
        write_whole(self._path, "".join(json.dumps(r) + "\n" for r in self.records), overwrite=True)
        self._file = self._path.open("a")

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


def _whole_lines(path: Path) -> list[Record]:
    """Return the records of a log; the last line is left out where a kill has cut it.

    Raises:
        UsageError: the file holds something else.
    """
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        if all(isinstance(r, dict) and "step" in r for r in records):
            return records
    except ValueError:
        pass
    raise UsageError(f"{path} is no log of a training: give another folder.")
