"""The runs of a board in their order, and those that a data set cannot have."""

from __future__ import annotations

from collections.abc import Sequence

from diptych import catalog
from diptych.core import Card, Classifier
from diptych.core.settings import by_system
from diptych.core.wording import number_of
from diptych.data.labelled import LabelledData
from diptych.evaluation.arms import Loaded
from diptych.evaluation.few_shot.gains import BASE
from diptych.evaluation.few_shot.inputs import trains_by_steps
from diptych.evaluation.few_shot.plan import FIXED, Job, Plan


def at(job: Job) -> str:
    """Return where in its row a run stands."""
    return f"{number_of(job.shots, 'shot')}, seed {job.seed}" if job.shots else f"seed {job.seed}"


def rows_of(card: Card, plan: Plan) -> tuple[tuple[str, ...], str]:
    """Return the rows of a system's card that a board has, and why it has none, or "".

    The row "no val" has settings that are fixed for all data sets: it is that of a board without val, and of no other.
    """
    if plan.val == "none" and FIXED in card.variants:
        return (FIXED,), ""
    if plan.val == "none" and "val" in card.needs.evidence:
        return (), "It chooses its settings on val, and its card has none that are fixed."
    return tuple(row for row in card.variants if row != FIXED), ""


def jobs_of(plan: Plan, data: LabelledData, loaded: Sequence[Loaded] = ()) -> tuple[list[Job], dict[str, str]]:
    """Return the runs in their order, and the rows that a data set cannot have -> why.

    Args:
        plan: systems, shots and seeds.
        data: with train where systems learn from labels.
        loaded: classifiers that were fitted before.

    Raises:
        UsageError: an unknown method, or no classifier.
    """
    slugs = plan.methods or tuple(card["slug"] for card in catalog.cards() if card["verb"] == "classify")
    settings = by_system(plan.settings)
    jobs = [Job.of_loaded(one) for one in loaded]
    missing: dict[str, str] = {}
    for slug in slugs:
        system = catalog.find(slug, Classifier)
        rows, reason = rows_of(system.card, plan)
        if reason:
            missing[system.card.name] = reason
        for row in rows:
            variant = catalog.set_rows(settings, slug, row)
            method = catalog.row(system, variant)
            learns = "train" in system.card.needs.evidence
            if learns and "train" not in data.splits:
                missing[Job(method, variant, 0, 0).label] = (
                    f"{data.name} has no train split to learn from: put its class folders below train and test, or "
                    f"give a table with a column 'split'."
                )
                continue
            drawn = learns or "unlabelled" in system.card.needs.evidence
            jobs += [
                Job(method, variant, s, seed)
                for s in (plan.shots if learns else (0,))
                for seed in (plan.seeds if drawn else (0,))
            ]
    order = {slug: i for i, slug in enumerate(sorted(slugs, key=lambda slug: slug != BASE[0]))}

    def place(job: Job) -> tuple[bool, bool, bool, int, int]:
        """Zero-shot first, then what is fitted already, and what trains by steps last: a budget should not end before
        the quick rows.
        """
        if job.loaded is not None:
            return True, False, False, -1, 0
        slug, trains = job.method.card.slug, trains_by_steps(type(job.method))
        return slug != BASE[0], trains, job.shots > 0, order[slug] if job.shots == 0 else job.shots, job.seed

    return sorted(jobs, key=place), missing
