"""What a training made, as its report says it: read again where the training is finished, or known to be shorter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.backbones.sources.load import load
from diptych.core import Backbone, Collapsed, DataError, Objective, Recipe, Run, UnreadableItem, UsageError
from diptych.data.files import plain, read_json
from diptych.train.checkpoint import newest
from diptych.train.resume import CHANGES_NOTHING, LENGTHS
from diptych.train.schedule import Fit

DOUBTED = "doubted"
"""Folder of a model that counts as collapsed."""


@dataclass(frozen=True, repr=False)
class Tuned:
    """What a training made.

    Args:
        backbone: trained, as it was written.
        before, after: data set -> metric -> value; "spread" and "gap" stand under the data trained on. What was
            measured during the training is in ``facts["during"]`` and in the log.
        facts: everything else that report.json says.
        folder: where it lies; ``load("local:FOLDER")`` opens it.
        failed: photos that cannot be read, and were left out.
    """

    backbone: Backbone
    before: Mapping[str, Mapping[str, float]]
    after: Mapping[str, Mapping[str, float]]
    facts: Mapping[str, Any]
    folder: Path
    failed: tuple[UnreadableItem, ...] = ()

    def __repr__(self) -> str:
        cells = [("data set", "metric", "before", "after", "change"), *self.rows()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = (
            "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
            for row in cells
        )
        return f"{self.facts['method']}, {self.facts['steps']} steps: local:{self.folder}\n" + "\n".join(lines)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return (data set, metric, before, after, change) of every measure, as they are printed."""
        return [
            (
                name,
                metric,
                f"{value:.3f}",
                f"{self.after[name][metric]:.3f}",
                f"{self.after[name][metric] - value:+.3f}",
            )
            for name, metrics in self.before.items()
            for metric, value in metrics.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        skipped = [e.as_dict() for e in self.failed]
        return {
            **self.facts,
            "before": self.before,
            "after": self.after,
            "skipped": skipped,
            "folder": str(self.folder),
        }


def read_finished(method: Objective | Recipe, fit: Fit, parts: str, run: Run, out: Path) -> Tuned | None:
    """Return the training that is finished in a folder, as its report says; None where there is none of these settings.

    Raises:
        Collapsed: its model was doubted.
    """
    try:
        report = read_json(out / "report.json")
    except DataError:
        return None
    facts = {k: v for k, v in report.items() if k not in ("before", "after", "skipped", "folder")}
    wanted = {"method": method.card.slug, "parts": parts, "seed": run.seed}
    fits = [
        {k: v for k, v in each.items() if k not in CHANGES_NOTHING}
        for each in (plain(fit.as_dict()), facts.get("fit", {}))
    ]
    if fits[0] != fits[1] or any(facts.get(name) != value for name, value in wanted.items()):
        return None
    folder = out / (DOUBTED if "doubt" in facts else "model")
    if "doubt" in facts:
        raise Collapsed(
            f"{facts['doubt']} The model is written apart, to {folder}: load it to see what it still knows."
        )
    failed = tuple(UnreadableItem(each["path"], each["reason"]) for each in report.get("skipped", ()))
    trained = load(f"local:{folder}", device=run.device)
    return Tuned(trained, report["before"], report["after"], facts, folder, failed)


def check_free(out: Path, *, resume: bool, longer: bool = False) -> None:
    """Check that nothing in a folder is in the way of a training; one to resume may have all but a report.

    Args:
        out: the folder.
        resume: whether a training that is there goes on.
        longer: whether it is finished and is lengthened, so that it may have a report too.

    Raises:
        UsageError: something is.
    """
    again = resume and newest(out / "checkpoints") is not None
    for name in (
        *(() if longer else ("report.json",)),
        *(() if again else ("model", DOUBTED)),
        *(() if resume else ("log.jsonl",)),
    ):
        path = out / name
        if path.exists() and path.name == "report.json" and resume:
            raise UsageError(
                f"The training in {out} is finished, as {path} says, with other settings: give those, or another "
                f"folder."
            )
        if path.exists():
            raise UsageError(f"{path} exists: give another folder, or resume the training that was stopped there.")


def lengthens(fit: Fit, report: Path) -> bool:
    """Return whether a fit is longer than that of a finished training, in the same unit."""
    if not report.exists():
        return False
    before = read_json(report).get("fit")
    if not isinstance(before, dict):
        return False
    now = fit.as_dict()
    return any(before.get(name) and now[name] and now[name] > before[name] for name in LENGTHS)
