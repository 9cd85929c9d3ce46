"""All audits that the data allow, the most severe finding first, and bounds on their measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from diptych import catalog
from diptych.core import AuditData, Auditor, DiptychError, Finding, Run, Subject, UnreadableItem, UsageError
from diptych.core.settings import with_settings
from diptych.data.files import plain
from diptych.tasks.audit.blame import Blame, blame


@dataclass(frozen=True)
class Bound:
    """A bound that a person sets on a measure.

    Args:
        measure: such as "drop".
        about: part of the data; "" is every part.
        side: whether values must be at most or at least ``value``.
    """

    measure: str
    about: str
    side: Literal["at most", "at least"]
    value: float

    @classmethod
    def read(cls, text: str, side: Literal["at most", "at least"]) -> Bound:
        """Read "MEASURE=VALUE" or "MEASURE:ABOUT=VALUE".

        Raises:
            UsageError: it is neither.

        Example:
            >>> Bound.read("drop:darker=0.3", "at most")
            Bound(measure='drop', about='darker', side='at most', value=0.3)
        """
        name, _, number = text.rpartition("=")
        measure, _, about = name.partition(":")
        try:
            return cls(measure.strip().replace(" ", "_") or _missing(text), about.strip(), side, float(number))
        except ValueError:
            raise UsageError(
                f"A bound is MEASURE=NUMBER or MEASURE:ABOUT=NUMBER, such as drop=0.2, got {text!r}."
            ) from None

    def __str__(self) -> str:
        return f"{self.measure}{':' if self.about else ''}{self.about} {self.side} {self.value:g}"


@dataclass(frozen=True)
class Verdict:
    """Whether a bound holds for one subject.

    Args:
        broken: whether it is broken; a bound on what was not measured is broken too.
        why: one sentence.
    """

    bound: Bound
    subject: str
    broken: bool
    why: str


@dataclass(frozen=True)
class Report:
    """What was found.

    Args:
        subjects: name -> model; the first is the user's, the others are compared with it.
        findings: slug of the audit -> its findings.
        lacking: slug -> why an audit was not run.
        blame: training pictures behind confusions; None without training pictures.
        verdicts: of the bounds, for the first subject: models that it is compared with cannot break them.
        failed: items that were left out.
    """

    title: str
    subjects: Mapping[str, Subject]
    data: AuditData
    findings: Mapping[str, tuple[Finding, ...]]
    lacking: Mapping[str, str]
    blame: Blame | None = None
    verdicts: tuple[Verdict, ...] = ()
    failed: tuple[UnreadableItem, ...] = ()

    @property
    def broken(self) -> tuple[Verdict, ...]:
        """Verdicts of broken bounds."""
        return tuple(v for v in self.verdicts if v.broken)

    def all(self) -> list[Finding]:
        """Return the findings of all audits."""
        return [f for findings in self.findings.values() for f in findings]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; findings stand in the order of the page."""
        slug_of = {id(f): slug for slug, findings in self.findings.items() for f in findings}
        roles = {name: {"role": p.role, "items": len(p.table)} for name, p in self.data.probes.items()}
        return plain(
            {
                "kind": "audit report",
                "title": self.title,
                "subjects": {name: vars(s.record) for name, s in self.subjects.items()},
                "tables": roles,
                "bounds": [
                    {"bound": str(v.bound), "subject": v.subject, "broken": v.broken, "why": v.why}
                    for v in self.verdicts
                ],
                "findings": [{"audit": slug_of[id(f)], **f.as_dict()} for f in by_severity(self.all())],
                "not_run": dict(self.lacking),
                "training_pictures": self.blame.as_dict() if self.blame else None,
                "skipped": [e.as_dict() for e in self.failed],
            }
        )


def auditors(only: Sequence[str] = (), settings: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Auditor]:
    """Return slug -> auditor of every system that audits models, or of the given ones.

    Args:
        only: slugs; () are all.
        settings: "SLUG.NAME" -> value, or the text of one.

    Raises:
        UsageError: a slug is no such system, or it has no such setting.
    """
    systems = {c["slug"]: catalog.find(c["slug"]) for c in catalog.cards() if c["verb"] == "audit"}
    known = {slug: system() for slug, system in systems.items() if issubclass(system, Auditor)}
    of_slug = [full.partition(".") for full in settings]
    if unknown := [slug for slug in (*only, *(slug for slug, _, _ in of_slug)) if slug not in known]:
        raise UsageError(f"{unknown[0]!r} audits no models: choose from {', '.join(known)}.")
    for slug, dot, name in of_slug:
        known[slug] = with_settings(known[slug], {name: settings[f"{slug}{dot}{name}"]})
    return {slug: known[slug] for slug in only} if only else known


def report(
    subjects: Mapping[str, Subject],
    data: AuditData,
    run: Run,
    *,
    title: str = "",
    only: Sequence[str] = (),
    bounds: Sequence[Bound] = (),
    failed: tuple[UnreadableItem, ...] = (),
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Report:
    """Run every audit that the data allow.

    Args:
        subjects: name -> model, the user's first.
        data: the tables.
        run: device, cache and seed.
        title: of the page.
        only: slugs of audits; () are all.
        bounds: on measures.
        failed: items that were left out when the tables were gathered.
        settings: of the audits, see ``auditors``.

    Returns:
        The report. An audit that the data do not allow, or that a model cannot do, is named with the reason.

    Raises:
        UsageError: there is no subject, or a slug is unknown.
    """
    if not subjects:
        raise UsageError("There is no model to audit: give at least one.")
    findings: dict[str, tuple[Finding, ...]] = {}
    lacking: dict[str, str] = {}
    chosen = auditors(only, settings)
    with run.track("audit", len(chosen)) as bar:
        for slug, auditor in chosen.items():
            lack = auditor.lacks(subjects, data)
            try:
                if not lack:
                    findings[slug] = tuple(auditor.audit(subjects, data, run))
            except DiptychError as error:
                lack = str(error)
            if lack:
                lacking[slug] = lack
            bar.advance()
    guilt = None
    try:
        guilt = blame(next(iter(subjects.values())), data, run)
    except DiptychError as error:
        lacking["training pictures"] = str(error)
    flat = [f for of_audit in findings.values() for f in of_audit]
    main = next(iter(subjects))
    verdicts = tuple(judged(bound, main, flat) for bound in bounds)
    return Report(title, subjects, data, findings, lacking, guilt, verdicts, failed)


def judged(bound: Bound, subject: str, findings: Sequence[Finding]) -> Verdict:
    """Return the verdict of a bound: the worst finding that it is about decides."""
    of_subject = [f for f in findings if f.subject == subject]
    meant = [f for f in of_subject if f.measure == bound.measure and bound.about in ("", f.about)]
    values = [f for f in meant if f.value is not None]
    if not values:
        measures = ", ".join(sorted({f.measure for f in of_subject if f.testable}))
        why = meant[0].reason if meant else f"It was not measured; measured were {measures or 'none'}."
        return Verdict(bound, subject, True, why)
    sign = 1 if bound.side == "at most" else -1
    worst = max(values, key=lambda f: sign * (f.value or 0.0))
    broken = sign * (worst.value or 0.0) > sign * bound.value
    about = f" about {worst.about}" if worst.about else ""
    return Verdict(bound, subject, broken, f"{worst.title}{about} is {worst.value:.4g}.")


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings, the most severe first.

    - Those with a harm come first, the largest first, by the end of their interval that is nearer to none.
    - A finding whose control found something too comes after those whose control held.
    - Then what is for information, and last what is not testable.
    """

    def order(f: Finding) -> tuple[bool, bool, float]:
        doubted = f.control is not None and not f.control.held
        return (not f.testable, doubted or f.harm == 0, -f.harm)

    return sorted(findings, key=order)


def is_failure(f: Finding) -> bool:
    """Return whether a finding takes pictures beyond doubt: it is put in words, and its control found nothing."""
    return bool(f.testable and f.says and f.harm > 0 and (f.control is None or f.control.held))


def _missing(text: str) -> str:
    raise ValueError(text)
