"""Write the recommended row of a board as a model that another machine can use."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from diptych import catalog
from diptych.core import Classifier, DataError
from diptych.evaluation.few_shot.gains import Row
from diptych.evaluation.few_shot.held import apart
from diptych.evaluation.few_shot.plan import Job
from diptych.evaluation.few_shot.rows import Desk
from diptych.evaluation.measure import evaluate
from diptych.tasks.calibrate import Calibration
from diptych.tasks.model import Predictor

STATED = (
    "dataset", "source", "data_hash", "method", "variant", "shots", "seed", "val", "texts", "texts_hash",
    "template_hash", "held",
)  # fmt: skip
"""What a model says of the row that it was: protocol, hashes and choices; its numbers on test stand apart."""


def export_row(desk: Desk, row: Row, folder: Path) -> None:
    """Fit a row of a board again, with its first seed, calibrate it, measure what is exported, and write it.

    Where val is all that is left beside the shots (rule "full"), half of it is for the choices of fit, and the other
    for calibration. A model that was exported there before is replaced.

    Raises:
        UsageError: the folder holds something else than a model.
    """
    job = Job(
        catalog.row(catalog.find(row.method, Classifier), row.variant), row.variant, row.shots, row.records[0].seed
    )
    run = replace(desk.run, seed=job.seed)
    drawn = desk.drawn(job, run) if job.shots else None
    evidence = desk.evidence(job, drawn)
    held = desk.held.of(job.seed if job.draws else desk.plan.seeds[0])
    evidence, seen = apart(job.method, evidence, held)
    fitted = desk.fit(job, evidence, run)
    calibration = None
    if held is not None:
        with contextlib.suppress(DataError):  # no held item has its true class among the candidates
            calibration = Calibration.of(fitted.scores(held.items, run), desk.backbone, held.labels(), seen=seen)
    about, sets = desk.about(job, evidence, drawn), [] if held is None else [held]
    record, _ = evaluate(fitted, desk.test, run, backbone=desk.backbone, about=about, held=sets, seen=seen)
    facts = record.as_dict()
    stated = {
        **{name: facts[name] for name in STATED},
        "test": {"metrics": facts["metrics"], "ci95": facts["ci95"], "items": facts["items"]},
    }
    Predictor(fitted, calibration, desk.backbone, stated).save(folder, overwrite=True)
