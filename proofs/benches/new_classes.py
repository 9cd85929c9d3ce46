"""The proof of CoCoOp: fitted on half of the classes, which photos of the other half does it name rightly?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diptych import catalog
from diptych.core import Backbone, Classifier, ClassNames, Evidence, Kit, NotAvailable, Run, Table
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.splits import base_and_new, of_classes
from diptych.data.words.classnames import tidy
from diptych.data.words.templates import ENSEMBLE
from diptych.evaluation.arms import MEANS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.evaluation.few_shot.episodes import measured, readable
from diptych.evaluation.few_shot.plan import Job
from diptych.evaluation.outcome import Outcome
from diptych.evaluation.spoils import Altered, SpoilEvidence, applied
from proofs.benches.classifiers import AroundClassify, ClassifyBench
from proofs.trial import Claim, Trial

NEW = "new:"
"""Before the name of a data set, half of whose classes are new."""


@dataclass(frozen=True)
class NewClassBench(AroundClassify):
    """Values are of test photos of the new classes."""

    new: tuple[Table[Any], ClassNames]
    metric: str = "acc1"
    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = ()

    @property
    def facts(self) -> Mapping[str, Any]:
        """Those of the base classes, and how many are new."""
        table, classes = self.new
        return {**self.inner.facts, "new_items": len(table), "new_classes": list(classes.names)}

    def measure(self, arm: Arm) -> Measured:
        """Fit to shots of the base classes, and name the new ones; what sees no shots is fitted to the new ones."""
        desk, (table, classes) = self.inner.desk, self.new
        method = catalog.row(catalog.find(arm.system, Classifier), arm.variant)
        shots = arm.shots if "train" in method.card.needs.evidence else 0

        def once(run: Run) -> tuple[Floats, Mapping[str, float]]:
            drawn = desk.drawn(Job(method, arm.variant, shots, run.seed), run) if shots else None
            given: Evidence[Any] = Evidence(train=drawn.train, val=drawn.val) if drawn else Evidence()
            chosen, names, evidence = applied(arm.spoil, method, desk.classes, given, run)
            kit = Kit({"main": desk.backbone})
            if drawn:
                fitted = chosen.fit(kit, names, evidence, run).for_classes(classes)
            else:
                fitted = chosen.fit(kit, classes, evidence, run)
            outcome = Outcome.of(fitted.scores(table.items, run), desk.backbone, table.labels())
            return outcome.correct.astype(np.float64), {}

        return over_seeds(once, self.run, self.seeds, draws=shots > 0)


def open_new(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> NewClassBench:
    """Open "new:NAME", a labelled set, the second half of whose classes no system is fitted on.

    Raises:
        NotAvailable: another name, or the data set is not on this machine.
    """
    if not name.startswith(NEW):
        raise NotAvailable(f"{name} has no new classes: this proof takes {NEW}NAME, such as {NEW}cifar10_small.")
    data = open_data(name.removeprefix(NEW), need="classes")
    base, new = base_and_new(len(data.classes))
    splits = {split: of_classes(table, base) for split, table in data.splits.items()}
    known = LabelledData(data.name, tuple(data.classes[k] for k in base), splits)
    inner = ClassifyBench.open(known, backbone, run, seeds)
    table, failed = readable(of_classes(data.split(measured(data)), new), backbone, run)
    inner.desk.failed.update({e.name: e for e in failed})
    return NewClassBench(inner, (table, ClassNames(tuple(tidy(data.classes[k]) for k in new), tuple(ENSEMBLE))))


SHOTS = 16
UNCONDITIONAL = Altered(lambda system, run: replace(system, conditional=False, epochs=10))
"""The same words, steps and rate without the network, which tells whether the network is what helps."""


def trial(shuffled_labels: SpoilEvidence) -> Trial:
    """Return the proof of CoCoOp, whose control learns from ``shuffled_labels``."""
    plain = Claim("the same without the network", SHOTS, base=Arm("coop", "cocoop", SHOTS, UNCONDITIONAL))
    return Trial(
        (Claim("coop", SHOTS), plain),
        variant="cocoop",
        controls=(replace(plain, arm=Arm("coop", "cocoop", SHOTS, shuffled_labels), name="shuffled labels"),),
        beside={"zero-shot": Claim("zero-shot", SHOTS, variant="ensemble")},
        bench=open_new,
    )
