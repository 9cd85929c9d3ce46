"""What a classifier promises: scores of its classes, whose order does not matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from diptych.core import Classifier, ClassNames, Column, Evidence, FittedClassifier, Kit, Run, Scores, Subset, Table
from diptych.features.saved_classes import is_frozen
from diptych.testing.backbones import backbone_for
from diptych.testing.compare import close
from diptych.testing.exam import Exam, Fitting
from diptych.testing.pictures import Pictures, table, task
from diptych.testing.promise import faults, plain, require

OTHERS = ("paper boat", "stone bridge")
"""Classes outside the task."""


class ClassifierExam(Exam):
    """Twelve pictures of three classes, with val, texts and unlabelled pictures."""

    role = Classifier
    alone = (1e-5, 1e-5)
    names_evidence = True

    @cached_property
    def task(self) -> tuple[ClassNames, Evidence[Any], Table[Any]]:
        """Names, evidence and a test table."""
        return self._with_more(task())

    def _with_more(
        self, given: tuple[ClassNames, Evidence[Any], Table[Any]]
    ) -> tuple[ClassNames, Evidence[Any], Table[Any]]:
        names, evidence, test = given
        if "other_classes" in self.card.needs.evidence:
            evidence = replace(evidence, other_classes=ClassNames(OTHERS))
        if "auxiliary" in self.card.needs.evidence:
            evidence = replace(evidence, auxiliary=table([0, 1] * 3, 5))
        return names, evidence, test

    @cached_property
    def evidence(self) -> Evidence[Any]:
        """Pictures, labels and texts."""
        return self.task[1]

    @property
    def material(self) -> Any:
        """The evidence, and the test table."""
        return self.task

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedClassifier:
        """Return the fitted classifier."""
        fitted: FittedClassifier = self.make().fit(kit, self.task[0], evidence, run)
        return fitted

    def answer(self, fitted: FittedClassifier, run: Run) -> Scores:
        """Return the scores of nine pictures."""
        return fitted.scores(self.task[2].items, run)

    def check_answer(self, fitting: Fitting) -> None:
        """Raise where scores are not finite (N, K) float32 on the CPU, without gradients."""
        scores, sizes = fitting.answer, (len(self.task[2]), len(self.task[0]))
        kind = type(fitting.fitted)
        faults(
            (is_frozen(kind), f"{kind.__name__} is no frozen dataclass"),
            (isinstance(scores, Scores), f"scores(...) returns {type(scores).__name__} and not Scores"),
            (tuple(scores.values.shape) == sizes, f"scores have the shape {tuple(scores.values.shape)}, not {sizes}"),
            *plain(scores.values),
        )

    def apart(self, fitted: FittedClassifier, run: Run) -> tuple[Any, Any]:
        """Return scores of single pictures, and those of all."""
        together, items = self.first.answer, self.task[2].items
        alone = [fitted.scores(Subset(items, (i,)), run) for i in range(len(items))]
        return [(s.values[0], s.kind) for s in alone], [(row, together.kind) for row in together.values]

    def nothing(self, fitted: FittedClassifier, run: Run) -> str:
        """Return what is wrong with the scores of no pictures."""
        empty, k = fitted.scores(Pictures(()), run), len(self.task[0])
        sizes = [tuple(x.shape) for x in (empty.values, empty.ranked(), empty.predicted())]
        return "" if sizes == [(0, k), (0, k), (0,)] else f"scores of no pictures have the shape {sizes[0]}"

    def permuting_classes_permutes_columns(self) -> None:
        """Classes in another order get the same scores in that order."""
        order = (2, 0, 3, 1)
        names, evidence, test = self._with_more(task(classes=4))
        moved = np.argsort(order)

        def relabelled(rows: Table[Any] | None) -> Table[Any] | None:
            return None if rows is None else Table(rows.items, {"label": Column("label", moved[rows.labels()])})

        renamed = ClassNames(tuple(names.names[k] for k in order), names.templates)
        relabelled_evidence = replace(evidence, train=relabelled(evidence.train), val=relabelled(evidence.val))
        kit, run = self.kit(), self.run(0)
        plain = self.make().fit(kit, names, evidence, run).scores(test.items, run)
        permuted = self.make().fit(kit, renamed, relabelled_evidence, run).scores(test.items, run)
        # a hundred steps through a tower amplify the rounding of sums in another order
        bound = 1e-2 if set(self.card.needs.hooks) - {"image", "text"} else 1e-3
        require(
            close(permuted.values, plain.values[:, list(order)], bound, bound),
            "classes in another order get other scores: nothing may depend on the place of a class in the list",
        )

    def a_sigmoid_backbone_is_scored_too(self) -> None:
        """A backbone with a sigmoid and a bias gets finite scores."""
        names, evidence, test = self.task
        kit, run = self.kit(self.placed(backbone_for(self.card.needs.hooks, "sigmoid"))), self.run(0)
        scores = self.make().fit(kit, names, evidence, run).scores(test.items, run)
        require(bool(torch.isfinite(scores.values).all()), "scores on a sigmoid backbone are not finite")

    def the_card_offers_what_is_given(self) -> None:
        """Reasons and other classes are on the card exactly where the fitted classifier has them."""
        names, evidence, _ = self.task
        fitted = type(self.make().transferable().fit(self.kit(), names, evidence, self.run(0)))
        given = {
            "reasons": fitted.explain is not FittedClassifier.explain,
            "other classes": fitted.for_classes is not FittedClassifier.for_classes,
        }
        offered = {offer for offer, is_given in given.items() if is_given}
        require(
            set(self.card.offers) == offered,
            f"the card offers {sorted(self.card.offers)}, and the fitted classifier has {sorted(offered)}",
        )

    def role_promises(self) -> list[Callable[[], None]]:
        """Return the promises of classifiers."""
        promises = [self.permuting_classes_permutes_columns, self.the_card_offers_what_is_given]
        return promises if "dense" in self.card.needs.hooks else [*promises, self.a_sigmoid_backbone_is_scored_too]
