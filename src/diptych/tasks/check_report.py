"""What the doctor of data sets reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from diptych.core.wording import number_of

Severity = Literal["error", "warning", "note"]
Kind = Literal[
    "layout", "empty-class", "one-class", "missing-split", "unreadable", "large", "small", "names", "name-collision",
    "class-missing-in-split", "tiny-class", "duplicate-across-splits", "two-labels", "duplicate", "caption", "mask",
]  # fmt: skip


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


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        lines = [f"{f.severity}: {f.message} {f.remedy}" for f in self.findings] or ["No problem found."]
        return "\n".join([self.title(), *lines])

    def title(self) -> str:
        """Return the name of the data, with the number of classes and of the pictures of each split that could be
        opened.
        """
        counts = ", ".join(f"{n} {split}" for split, n in self.counts.items())
        classes = number_of(len(self.classes), "class", "classes") if self.classes else "no classes"
        return f"{self.name}: {classes}; {counts}" if counts else self.name

    @property
    def ok(self) -> bool:
        """True where no finding is an error."""
        return all(f.severity != "error" for f in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**asdict(self), "ok": self.ok}
