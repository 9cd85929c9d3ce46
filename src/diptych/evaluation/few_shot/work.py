"""The runs of a board one after the other: what is done, what could not be run, and what came too late."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from diptych import catalog
from diptych.core.errors import DiptychError, MissingEvidence, MissingExtra, MissingHook, MissingPart, UsageError
from diptych.core.method import Classifier
from diptych.data.labelled import LabelledData
from diptych.evaluation.deadline import OutOfTime, deadline
from diptych.evaluation.few_shot.gains import BASE
from diptych.evaluation.few_shot.plan import Job, Plan
from diptych.evaluation.few_shot.rows import Desk, Unwritten
from diptych.evaluation.outcome import Outcome
from diptych.tasks.record import Record


@dataclass
class Work:
    """The runs of a board.

    Args:
        desk: where they are worked.
        missing: row label -> why it could not be run.
        began: ``time.monotonic()`` of the beginning of the board: the budget counts from there.
        done: finished runs.
        late: row label -> what the budget or the time-out left out.
        spent: row label -> seconds.
    """

    desk: Desk
    missing: dict[str, str]
    began: float
    done: list[tuple[Job, Record, Outcome]] = field(default_factory=list)
    late: dict[str, str] = field(default_factory=dict)
    spent: Counter[str] = field(default_factory=Counter)

    def all(self, jobs: Sequence[Job]) -> bool:
        """Run all; False where Ctrl-C ended it."""
        try:
            with self.desk.run.track("rows", len(jobs)) as bar:
                for job in jobs:
                    self._one(job)
                    bar.advance()
        except KeyboardInterrupt:
            return False
        return True

    def _one(self, job: Job) -> None:
        if job.label in self.missing:
            return
        plan, start = self.desk.plan, time.monotonic()
        left = (
            [(plan.budget - (start - self.began), f"the budget of {plan.budget:g} s was spent")] if plan.budget else []
        )
        left += (
            [(plan.timeout - self.spent[job.label], f"its time-out of {plan.timeout:g} s was over")]
            if plan.timeout
            else []
        )
        seconds, reason = min(left, default=(None, "")) if job.method.card.slug != BASE[0] else (None, "")
        try:
            with deadline(seconds):
                self.done.append((job, *self.desk.row(job)))
        except Unwritten:
            raise
        except OutOfTime:
            self.late.setdefault(job.label, f"{_at(job)} and what follows left out: {reason}.")
        except (MissingHook, MissingPart, MissingExtra, MissingEvidence) as error:
            self.missing[job.label] = str(error)
        except DiptychError as error:
            self.missing[f"{job.label}, {_at(job)}"] = str(error)
        except Exception as error:  # one system's fault must not cost the user the other rows
            self.missing[f"{job.label}, {_at(job)}"] = f"It failed, please report it: {type(error).__name__}: {error}"
        finally:
            self.spent[job.label] += time.monotonic() - start  # type: ignore[assignment]


def _at(job: Job) -> str:
    return f"{job.shots} shot{'' if job.shots == 1 else 's'}, seed {job.seed}" if job.shots else f"seed {job.seed}"


def jobs_of(plan: Plan, data: LabelledData) -> tuple[list[Job], dict[str, str]]:
    """Return the runs in their order, and the rows that a data set cannot have -> why.

    Raises:
        UsageError: an unknown method, or no classifier.
    """
    slugs = plan.methods or tuple(card["slug"] for card in catalog.cards() if card["verb"] == "classify")
    jobs: list[Job] = []
    missing: dict[str, str] = {}
    for slug in slugs:
        found = catalog.find(slug)
        if not issubclass(found, Classifier):
            raise UsageError(f"{slug} is no classifier: see 'diptych systems --verb classify'.")
        for variant, parameters in found.card.variants.items():
            method = found(**parameters)
            learns = "train" in found.card.needs.evidence
            if learns and "train" not in data.splits:
                missing[Job(method, variant, 0, 0).label] = f"{data.name} has no train split to learn from."
                continue
            drawn = learns or "unlabelled" in found.card.needs.evidence
            jobs += [
                Job(method, variant, s, seed)
                for s in (plan.shots if learns else (0,))
                for seed in (plan.seeds if drawn else (0,))
            ]
    order = {slug: i for i, slug in enumerate(sorted(slugs, key=lambda slug: slug != BASE[0]))}

    def place(job: Job) -> tuple[bool, bool, bool, int, int]:
        """Zero-shot first, and what trains by steps last, since a budget should not end before the rows that take a
        second.
        """
        slug, trains = job.method.card.slug, "train" in job.method.card.needs.extras
        return slug != BASE[0], trains, job.shots > 0, order[slug] if job.shots == 0 else job.shots, job.seed

    return sorted(jobs, key=place), missing
