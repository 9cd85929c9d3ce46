"""The proof of TransCLIP: photos of test are classified together, without their labels, with shots or without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych import catalog
from diptych.core import Backbone, Classifier, Evidence, Kit, NotAvailable, Run
from diptych.data.load import open_data
from diptych.evaluation.arms import MEANS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.evaluation.few_shot.plan import Job
from diptych.evaluation.outcome import Outcome
from diptych.evaluation.spoils import applied, as_subclass
from diptych.methods.classify.transclip import TransCLIP
from proofs.benches.classifiers import AroundClassify, ClassifyBench
from proofs.trial import Claim, Trial

TOGETHER = "transductive:"
"""Before the name of a data set whose photos of test a system sees, without labels, before it answers."""


@dataclass(frozen=True)
class TransductiveBench(AroundClassify):
    """What learns from photos without labels gets those of test; the rest is measured as ever."""

    metric: str = "acc1"
    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = ()

    @property
    def facts(self) -> Mapping[str, Any]:
        """Those of the data set."""
        return self.inner.facts

    def measure(self, arm: Arm) -> Measured:
        """Fit to the photos of test, and to shots where the arm has some."""
        desk = self.inner.desk
        if "unlabelled" not in catalog.card(arm.system)["needs"]["evidence"]:
            return self.inner.measure(arm)
        method = catalog.row(catalog.find(arm.system, Classifier), arm.variant)

        def once(run: Run) -> tuple[Floats, Mapping[str, float]]:
            drawn = desk.drawn(Job(method, arm.variant, arm.shots, run.seed), run) if arm.shots else None
            train, val = (drawn.train, drawn.val) if drawn else (None, None)
            given: Evidence[Any] = Evidence(train=train, val=val, unlabelled=desk.test.items)
            chosen, names, evidence = applied(arm.spoil, method, desk.classes, given, run)
            fitted = chosen.fit(Kit({"main": desk.backbone}), names, evidence, run)
            outcome = Outcome.of(fitted.scores(desk.test.items, run), desk.backbone, desk.test.labels())
            return outcome.correct.astype(np.float64), {}

        return over_seeds(once, self.run, self.seeds, draws=bool(arm.shots or arm.spoil))


def open_together(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> TransductiveBench:
    """Open "transductive:NAME", a labelled set.

    Raises:
        NotAvailable: another name, or the data set is not on this machine.
    """
    if not name.startswith(TOGETHER):
        raise NotAvailable(f"{name} is not seen whole: this proof takes {TOGETHER}NAME, such as {TOGETHER}caltech40.")
    data = open_data(name.removeprefix(TOGETHER), need="classes")
    return TransductiveBench(ClassifyBench.open(data, backbone, run, seeds))


@dataclass(frozen=True)
class OtherNeighbours(TransCLIP):
    """Each photo and shot has the neighbours of another one, with the same cosines."""

    def graph(self, x: Tensor, shot: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        """Return the graph with its rows in another order."""
        at, near = super().graph(x, shot, run)
        order = torch.randperm(len(at), generator=run.generator("other neighbours"))
        return at[order], near[order]


def trial(even: str) -> Trial:
    """Return the proof of TransCLIP, which must beat the even prior of this slug too."""
    alone = Arm("transclip", "no graph")
    return Trial(
        (
            Claim("zero-shot", variant="ensemble"),
            Claim(even, 16, arm=Arm("transclip")),
            Claim("the same without neighbours", base=alone),
        ),
        controls=(
            Claim(
                "the same without neighbours",
                arm=Arm("transclip", spoil=as_subclass(OtherNeighbours)),
                base=alone,
                name="other neighbours",
            ),
        ),
        bench=open_together,
    )
