"""What the doctor of data sets reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
Kind = Literal[
    "layout",
    "empty-class",
    "one-class",
    "missing-split",
    "unreadable",
    "large",
    "small",
    "names",
    "name-collision",
    "class-missing-in-split",
    "tiny-class",
    "duplicate-across-splits",
    "two-labels",
    "duplicate",
]


@dataclass(frozen=True)
class Finding:
    """One thing to know before a run.

    Args:
        severity: "error" spoils results or stops the run, "warning" weakens them, "note" is good to know.
        message: one sentence.
        remedy: what to do.
        paths: files, folders or classes concerned.
    """

    kind: Kind
    severity: Severity
    message: str
    remedy: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """What the doctor saw.

    Args:
        classes: K class names as found.
        counts: split -> number of pictures.
        findings: errors first, then warnings, then notes.
    """

    name: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True where no finding is an error."""
        return all(f.severity != "error" for f in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**asdict(self), "ok": self.ok}
