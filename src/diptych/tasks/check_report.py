"""What the doctor of data sets reports."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from diptych.core.errors import need_pandas
from diptych.core.wording import number_of

if TYPE_CHECKING:
    import pandas

COLUMNS = ("severity", "kind", "group", "path", "what", "remedy")

Severity = Literal["error", "warning", "note"]
Kind = Literal[
    "layout", "empty-class", "one-class", "missing-split", "unreadable", "large", "small", "names", "name-collision",
    "class-missing-in-split", "tiny-class", "duplicate-across-splits", "two-labels", "duplicate", "near-duplicate",
    "caption", "mask",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing to know before a run.

    Args:
        severity: "error" spoils results or stops the run, "warning" weakens them, "note" is good to know.
        message: one sentence.
        remedy: what to do.
        paths: files, folders or classes concerned.
        groups: files that belong together, such as duplicates, the one with the most pixels first; () where each stands
            alone.
    """

    kind: Kind
    severity: Severity
    message: str
    remedy: str
    paths: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()


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

    def rows(self) -> list[dict[str, str]]:
        """Return a row for each file, folder or class of a finding, by column.

        Columns are severity, kind, group (a number that duplicates share; "" where each stands alone), path, what and
        remedy. A finding about the whole data has one row without a path.
        """
        rows, count = list[dict[str, str]](), 0
        for f in self.findings:
            for group in f.groups or [(path,) for path in f.paths or ("",)]:
                count += bool(f.groups)
                about = {"severity": f.severity, "kind": f.kind, "group": str(count) if f.groups else ""}
                rows += [{**about, "path": path, "what": f.message, "remedy": f.remedy} for path in group]
        return rows

    def as_csv(self) -> str:
        """Return ``rows`` as a table."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(self.rows())
        return text.getvalue()

    def to_pandas(self) -> pandas.DataFrame:
        """Return ``rows`` as a table.

        Raises:
            MissingExtra: pandas is not installed.
        """
        return need_pandas().DataFrame(self.rows(), columns=list(COLUMNS))
