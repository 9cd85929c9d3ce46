"""The log of a training: JSON lines, TensorBoard files where TensorBoard is installed, and Weights & Biases."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diptych.core.errors import UsageError, need_extra
from diptych.data.files import write_whole

Record = dict[str, Any]


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
        self._file, self._board, self._started = None, None, time.perf_counter()
        self._sent: Any = None if sent is None else _weights_and_biases(folder, sent)
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "log.jsonl"
        if path.exists():
            self.records = [r for r in _whole_lines(path) if r["step"] <= since]
        write_whole(path, "".join(json.dumps(r) + "\n" for r in self.records), overwrite=True)
        self._file = path.open("a")
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
