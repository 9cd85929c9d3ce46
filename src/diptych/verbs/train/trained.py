"""What ``finetune`` and ``pretrain`` return: a trained model, and what was measured before and after."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diptych.verbs.answer import Answer, Shown

if TYPE_CHECKING:
    from diptych.tasks.training.tuned import Tuned


class Trained(Answer[Any]):
    """A trained model, and what it gained and lost. Of the processes of torchrun the first one shows it."""

    listed = False

    def __init__(self, tuned: Tuned) -> None:
        super().__init__(iter(()))
        self.tuned, self.unseen = tuned, os.environ.get("RANK", "0") != "0"
        self.failed += tuned.failed

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return the report."""
        return self.tuned.as_dict()

    def tables(self) -> Sequence[Shown | str]:
        """Return what was measured before and after, and how the model is loaded."""
        headings = ("data set", "metric", "before", "after", "change")
        table = Shown(headings, self.tuned.rows(), (2, 3, 4), str(self.tuned.facts["method"]))
        return (table, f"local:{self.tuned.folder}")
