"""What a retriever promises: scores of records against a gallery, in whatever order it stands."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from diptych.core import Column, Evidence, FittedRetriever, Retriever, Run, Table
from diptych.testing.compare import close
from diptych.testing.exam import Exam, Fitting
from diptych.testing.promise import faults, plain, require
from diptych.testing.samples import records


class RetrieverExam(Exam):
    """Twelve records of four entities, and a small CLIP."""

    role = Retriever
    hookless = False
    clip = True

    @cached_property
    def records(self) -> Any:
        """The records."""
        return records(4, 3)[0]

    @cached_property
    def evidence(self) -> Evidence[Any]:
        """Records with their entities."""
        numbered, entities = records(4, 3)
        rows = Table(numbered, {"entity": Column("entity", entities)})
        return Evidence(train=rows, val=rows)

    def answer(self, fitted: FittedRetriever, run: Run) -> tuple[Any, float | None]:
        """Return the scores of all records against all, and the threshold."""
        return fitted.against(self.records, run)(self.records), fitted.threshold

    def check_answer(self, fitting: Fitting) -> None:
        """Raise where scores are not finite (n, M) float32 on the CPU, or no threshold was chosen on val."""
        (scores, threshold), n = fitting.answer, len(self.records)
        faults(
            (tuple(scores.shape) == (n, n), f"scores have the shape {tuple(scores.shape)}, not {(n, n)}"),
            *plain(scores),
            (threshold is not None, "there is a val table and no threshold"),
        )

    def nothing(self, fitted: FittedRetriever, run: Run) -> str:
        """Return what is wrong with no records against some, and some against none."""
        few, none = self.records, self.records.take([])
        sizes = tuple(fitted.against(few, run)(none).shape), tuple(fitted.against(none, run)(few).shape)
        n = len(few)
        return "" if sizes == ((0, n), (n, 0)) else f"none against {n} and {n} against none are {sizes}"

    def order_does_not_matter(self) -> None:
        """Fewer queries against a gallery in another order get the same scores in that order."""
        order, run = np.random.default_rng(0).permutation(len(self.records)), self.run()
        moved = self.first.fitted.against(self.records.take(order), run)(self.records.take(range(5)))
        require(
            close(moved, self.first.answer[0][:5, order], 1e-4, 1e-4),
            "records in another order get other scores: nothing may be computed over the records of a call",
        )

    def role_promises(self) -> list[Callable[[], None]]:
        """Return the promises of retrievers."""
        return [self.order_does_not_matter]

    def row_promises(self) -> list[Callable[[], None]]:
        """Return what each further row is asked: it may train something else."""
        return [
            self.same_seed_same_bits, self.inputs_are_not_written, self.order_does_not_matter,
            self.no_items_get_no_answers,
        ]  # fmt: skip
