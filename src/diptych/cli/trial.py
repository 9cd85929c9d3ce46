"""``--dry-run``: a few steps of a training at full size, with their time and memory, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diptych.cli.console import show
from diptych.core import UsageError

DRY_RUN = "Take three steps of the training, print time and memory, write nothing and end."


def show_trial(train: Callable[[], Any]) -> None:
    """Run something that trains as a trial, and print the measures.

    Args:
        train: does all that comes before the training, and the training.

    Raises:
        UsageError: it does not train in steps.
    """
    from diptych.train.trial import TrialEnded, trial

    try:
        with trial():
            train()
    except TrialEnded as ended:
        for line in ended.trial.lines():
            show(line)
    else:
        raise UsageError("Nothing is trained in steps here: leave {dry_run} out, or give a system that trains.")
