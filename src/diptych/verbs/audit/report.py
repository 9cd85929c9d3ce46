"""``audit report``: all audits that the data allow, as one page, and as a gate in someone's CI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import DataError
from diptych.verbs import kinds
from diptych.verbs.answer import Shown
from diptych.verbs.arguments import argument
from diptych.verbs.audit.findings import Findings, control_of
from diptych.verbs.audit.models import Tabled

if TYPE_CHECKING:
    from diptych.core import Finding
    from diptych.tasks.audit.report import Report
    from diptych.verbs.context import Context

BROKEN = 5
"""Exit code of a broken bound; it wins over 3, some pictures skipped."""
BOUNDS = kinds.Kind(
    list[str] | None, None,
    lambda v: tuple(f"{m}={n}" for m, n in v.items()) if isinstance(v, Mapping) else kinds.TEXTS.read(v),
)  # fmt: skip
"""MEASURE=NUMBER or MEASURE:ABOUT=NUMBER, one or several; in Python also a dictionary."""


@dataclass(frozen=True, kw_only=True)
class AuditReport(Tabled):
    """Run every audit that the data allow, and list the worst findings first. Exit code 5: a bound is broken."""

    name: ClassVar[str] = "audit report"
    examples: ClassVar[tuple[str, ...]] = (
        "audit report clothes/ --out report.html",
        "audit report clothes/ --backbone tiny --out report.html",
    )
    report: ClassVar[str] = "Write a .html page or a .json file."
    out_help: ClassVar[str] = report
    suffixes: ClassVar[tuple[str, ...]] = (".html", ".json")

    only: str | Sequence[str] = argument("Audits to run, with commas (default: all).", kinds.WORDS, ())
    images: bool = argument("Show pictures on the page.", default=True, flag="--images/--no-images")
    measured: str | Path | None = argument(
        "Results of these models from elsewhere: a table of model, measure, value.", kinds.FILE, None
    )
    at_most: str | Sequence[str] | Mapping[str, float] = argument(
        "Upper bound, MEASURE=NUMBER or MEASURE:ABOUT=NUMBER; repeat.", BOUNDS, (), panel="Bounds"
    )
    at_least: str | Sequence[str] | Mapping[str, float] = argument(
        "Lower bound, such as accuracy=0.8; repeat.", BOUNDS, (), panel="Bounds"
    )
    settings: Mapping[str, Any] | Sequence[str] | None = argument(
        "A setting of an audit, such as SLUG.most=100; repeat for several.", kinds.SETTINGS, None, flag="--set"
    )

    def chooses(self) -> bool:
        """Return False: every audit may run."""
        return False

    def run(self, context: Context) -> Reported:
        """Run the audits."""
        from diptych.backbones.provenance import subject_of
        from diptych.tasks.audit.measured import with_measured
        from diptych.tasks.audit.report import Bound, report

        bounds = [Bound.read(b, "at most") for b in self.at_most]
        bounds += [Bound.read(b, "at least") for b in self.at_least]
        opened = self.opened(context.keys)
        self.free(context)
        models = self.models(context, self.against)
        data, failed = opened.gathered(self.names, models[0], context.run())
        subjects = {b.spec.name: subject_of(b) for b in models}
        result = report(
            with_measured(subjects, self.measured) if self.measured else subjects, data, context.run(), only=self.only,
            title=f"{opened.data.name}: audit of {models[0].spec.name}", bounds=bounds, failed=failed,
            settings=self.given_settings(),
        )  # fmt: skip
        if not any(f.testable for f in result.all()) and result.blame is None:
            raise DataError(f"Nothing could be tested on {opened.data.name}: {' '.join(result.lacking.values())}")
        return Reported(self, result, self.noted(opened))


class Reported(Findings):
    """All findings, the worst first, and whether bounds hold."""

    def __init__(self, verb: AuditReport, result: Report, notes: Sequence[str]) -> None:
        from diptych.tasks.audit.report import by_severity

        super().__init__(verb, by_severity(result.all()), result.failed, notes)
        self.verb: AuditReport = verb
        self.result, self.exit_code = result, BROKEN if result.broken else 0

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return models, tables, bounds, findings and remarks."""
        return {**self.result.as_dict(), **self.settings(), "remarks": list(remarks)}

    def tables(self) -> list[Shown | str]:
        """Return the failures of the first model, what was measured besides, and what the training pictures say."""
        from diptych.tasks.audit.report import is_failure
        from diptych.tasks.audit.report_page import number

        main, blame = next(iter(self.result.subjects)), self.result.blame
        mine = [f for f in self.items if f.subject == main and f.testable]
        worded, besides = [f for f in mine if is_failure(f)], [f for f in mine if not is_failure(f)]
        parts: list[Shown | str] = [f"{main}: no failure was found beyond doubt."]
        if worded:
            rows = [(f.says, f"{f.title} {number(f)}", f"{f.count} {f.counted}") for f in worded]
            parts = [Shown(("finding, the worst first", "value, 95 % interval", "from"), rows, title=main)]
        if besides:
            rows = [(self.name(f), number(f), control_of(f)) for f in besides]
            parts.append(Shown(("measured besides", "value, 95 % interval", "control"), rows))
        if blame is None:
            return parts
        confused = [
            f"Most frequent confusion by the training pictures: {c.count} of {c.of} pictures of {c.true} are taken for "
            f"{c.predicted}."
            for c in blame.confusions[:1]
        ]
        return [
            *parts, *confused,
            f"{len(blame.suspects)} of {blame.trained} training labels may be wrong, hard pictures among them; of "
            f"{blame.planted} labels changed on purpose {blame.found} are found.",
        ]  # fmt: skip

    def remarks(self, items: Sequence[Finding]) -> list[str]:
        """Return what was not run or cannot be tested, and broken bounds."""
        silent = sum(not f.testable for f in self.items)
        return [
            *self.noted,
            *(f"{slug} was not run: {reason}" for slug, reason in self.result.lacking.items()),
            *(
                [f"Not testable here: {silent} of {len(self.items)} measures. The page and the JSON say why."]
                if silent
                else []
            ),
            *(f"Broken: {v.bound} ({v.subject}). {v.why}" for v in self.result.broken),
        ]

    def report(self, path: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write the page, or the plain data."""
        if path.suffix != ".html":
            super().report(path, data, overwrite=overwrite)
        else:
            from diptych.data.files import write_whole
            from diptych.tasks.audit.report_page import html

            write_whole(path, html(self.result, images=self.verb.images), overwrite=overwrite)
        return [f"Written to {path}."]
