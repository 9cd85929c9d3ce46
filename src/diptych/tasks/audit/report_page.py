"""The report of audits as one HTML page: findings in plain words, the worst first, with the pictures behind them.

No script, nothing loaded from anywhere. Pictures are small JPEG copies without EXIF; without pictures the page names
no file either.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from html import escape
from types import MappingProxyType

from diptych import __version__
from diptych.core import AuditData, Control, Example, Finding
from diptych.core.wording import number_of, three_digits
from diptych.data.factors import WORDS
from diptych.tasks.audit.blame import Blame, Blamed
from diptych.tasks.audit.report import Report, by_severity, is_failure
from diptych.tasks.pages.page import CLOSING, TABLE_END, opening, table
from diptych.tasks.pages.photo_page import thumbnail

SIDE = 240
"""Longest side of a picture, in pixels."""
SUSPECTS = 12
"""Suspected training pictures that are shown."""
MEANS: Mapping[str, str] = MappingProxyType(
    {
        "accuracy": "share of pictures that get the right class.",
        "auroc_mcm": "how often it is surer of one of your pictures than of one of no class; 50 % is a guess.",
        "auroc_energy": "the same, by the energy of all logits.",
        "auroc_nearest": "the same, by the distance to the nearest pictures.",
        "calibration_error": "how far probabilities are from the shares that are right, on average.",
        "drop": "accuracy that is lost against the same pictures as they are, or against your own; below 0 it rises.",
        "place_recall": "share of places in a picture that find themselves in its mirror image.",
        "recall_at_1": "share of pictures whose own caption is the nearest one, or of captions whose picture is.",
        "shape_bias": "of answers to pictures whose shape and texture disagree, the share that go by the shape.",
        "shortcut_bias": "how far heads that are trained on its features follow a coloured square that goes with the "
        "label; 0 is not at all.",
        "temperature_gain": "log-likelihood of the right class that is gained by dividing all logits by one number.",
        "worst_factor": "how far accuracy under the worst change of the pictures lies below the mean of all changes.",
    }
)
"""Measure -> what it says, for who was handed the page."""
STYLE = """
.finding { border:1px solid var(--line); border-radius:8px; padding:.3rem 1.1rem 1rem; margin:1rem 0;
background:var(--soft) }
.finding h3 { font-size:1.05rem; margin:.7rem 0 .2rem } .finding .number { font-variant-numeric:tabular-nums }
.few figcaption { overflow-wrap:anywhere } .broken { color:var(--bad); font-weight:600 } .kept { color:var(--good) }
"""


def html(report: Report, *, images: bool = True) -> str:
    """Return the page.

    Args:
        report: what was found.
        images: whether to show the pictures behind findings; False shows no picture and no file name.
    """
    return "\n".join(_Page(report, images).parts())


class _Page:
    def __init__(self, report: Report, images: bool) -> None:
        self.report, self.images = report, images
        self.main = next(iter(report.subjects))

    @cached_property
    def places(self) -> Mapping[tuple[str, str], int]:
        """Return (table, content key) -> row, of the pictures that are shown."""
        wanted = {(e.probe, e.key) for f in self.report.all() for e in f.examples}
        blame = self.report.blame
        if blame is not None:
            table = self.report.data.one()[0]
            wanted |= {(table, key) for c in blame.confusions for key in c.pictures}
            wanted |= {(b.probe, b.key) for c in blame.confusions for b in c.blamed}
            wanted |= {(b.probe, b.key) for b in blame.suspects}
        return rows_of(self.report.data, wanted)

    def parts(self) -> Iterator[str]:
        """Yield the page."""
        yield opening(self.report.title, self.lead(), style=STYLE)
        yield from self.bounds()
        ordered = by_severity(self.report.all())
        worded = [f for f in ordered if f.subject == self.main and is_failure(f)]
        shown = {id(f) for one in worded for f in (one, *self.others(one))}
        yield "<section><h2>Findings, the worst first</h2>"
        if not worded:
            yield "<p>No failure was found beyond doubt.</p>"
        for f in worded:
            yield from self.finding(f)
        yield "</section>"
        yield from self.blamed()
        yield from self.table([f for f in ordered if f.testable and id(f) not in shown])
        yield from self.untested()
        yield (
            f'<p class="note">Written by diptych {__version__}. No script, nothing loaded from elsewhere. '
            f"{'Pictures are small copies without EXIF.' if self.images else 'Without pictures and file names.'}</p>"
        )
        yield CLOSING

    def lead(self) -> str:
        """Return what was audited."""
        kinds = {
            "id": "test pictures", "shift": "test pictures under another condition",
            "ood": "pictures of none of the classes", "train": "training pictures", "pairs": "pictures in pairs",
        }  # fmt: skip
        tables = "; ".join(
            f"{escape(name)} ({len(p.table)} {kinds[p.role]})" for name, p in self.report.data.probes.items()
        )
        others = [escape(s) for s in list(self.report.subjects)[1:]]
        against = f", compared with {', '.join(others)}" if others else ""
        return f'<p class="lead">{escape(self.main)}{against}, on {tables}.</p>'

    def bounds(self) -> Iterator[str]:
        """Yield the verdicts of the bounds."""
        if not self.report.verdicts:
            return
        yield "<section><h2>Bounds</h2>" + table(("bound", "model", "verdict"), left=range(3))
        for v in self.report.verdicts:
            word = '<span class="broken">broken</span>' if v.broken else '<span class="kept">kept</span>'
            yield f'<tr><th scope="row">{escape(str(v.bound))}</th><td class="left">{escape(v.subject)}</td>'
            yield f'<td class="left wrap">{word}: {escape(v.why)}</td></tr>'
        yield TABLE_END + "</section>"

    def finding(self, f: Finding) -> Iterator[str]:
        """Yield one finding with its numbers, control, pictures and remedy."""
        yield f'<article class="finding"><h3>{escape(f.says)}</h3>'
        yield f'<p class="number">{escape(named(f))}: {number(f)}, from {counted(f)}.'
        for other in self.others(f):
            value = number(other) if other.testable else escape(other.reason)
            yield f" {escape(other.subject)}: {value}."
        yield "</p>"
        if f.control is not None:
            yield f'<p class="{"note" if f.control.held else "warn"}">{control(f.control, f.unit)}</p>'
        yield from self.pictures(f.examples)
        if f.advice:
            yield f"<p><b>What to do:</b> {escape(f.advice)}</p>"
        yield "</article>"

    def others(self, f: Finding) -> list[Finding]:
        """Return the same finding about the other models."""
        return [
            o
            for o in self.report.all()
            if (o.measure, o.about) == (f.measure, f.about)
            and o.subject in self.report.subjects
            and o.subject != f.subject
        ]

    def pictures(self, examples: tuple[Example, ...]) -> Iterator[str]:
        """Yield the pictures of examples; nothing where pictures are not wanted."""
        if not self.images or not examples:
            return
        yield '<div class="few">'
        for e in examples:
            yield self.picture(e.probe, e.key, e.note)
        yield "</div>"

    def picture(self, probe: str, key: str, note: str) -> str:
        """Return one picture with a note below."""
        row = self.places.get((probe, key))
        source = "" if row is None else thumbnail(self.report.data.probes[probe].table.items, row, SIDE)
        image = f'<img src="{source}" alt="{escape(note)}">' if source else ""
        return f'<figure>{image}<figcaption class="small">{escape(note)}</figcaption></figure>'

    def blamed(self) -> Iterator[str]:
        """Yield confusions with the training pictures behind them, and suspected labels."""
        blame = self.report.blame
        if blame is None:
            return
        yield "<section><h2>Which training pictures are to blame</h2>"
        yield (
            f'<p class="note">Here a picture gets the class that most of its nearest training pictures have, so that '
            f"each mistake has its causes at hand. Of {blame.items} pictures {100 * blame.accuracy:.0f} % get the "
            f"right class in this way, from {blame.trained} training pictures.</p>"
        )
        table = self.report.data.one()[0]
        for c in blame.confusions:
            title = f"{c.count} of {c.of} pictures of {c.true} are taken for {c.predicted}."
            yield f'<article class="finding"><h3>{escape(title)}</h3>'
            if self.images:
                yield '<div class="few">'
                yield from (self.picture(table, key, f"{c.true}, taken for {c.predicted}") for key in c.pictures)
                yield from (self.picture(b.probe, b.key, _voted(b)) for b in c.blamed)
                yield "</div>"
            yield "</article>"
        yield from self.suspects(blame)
        yield "</section>"

    def suspects(self, blame: Blame) -> Iterator[str]:
        """Yield training pictures whose neighbours have another class."""
        if not blame.suspects:
            yield "<p>No label of a training picture is suspected.</p>"
            return
        more = f", {SUSPECTS} shown" if len(blame.suspects) > SUSPECTS and self.images else ""
        yield f"<h3>{len(blame.suspects)} training pictures may have a wrong label{more}</h3>"
        if self.images:
            yield '<div class="few">'
            yield from (
                self.picture(b.probe, b.key, f"labelled {b.label}, near {b.suggested}")
                for b in blame.suspects[:SUSPECTS]
            )
            yield "</div>"
        yield (
            f'<p class="note">Hard pictures with right labels are among them. Of {blame.planted} labels that were '
            f"changed on purpose in a copy, to see what this search is worth, it finds {blame.found}.</p>"
        )
        yield "<p><b>What to do:</b> look at them, mend the labels, and audit again.</p>"

    def table(self, findings: list[Finding]) -> Iterator[str]:
        """Yield what was measured besides."""
        if not findings:
            return
        heads = ("model", "measure", "value, 95 % interval", "from", "control")
        yield "<section><h2>Measured besides</h2>" + table(heads, left=(0, 1, 4))
        for f in findings:
            yield f'<tr><td class="left">{escape(f.subject)}</td><td class="left wrap">{escape(named(f))}</td>'
            line = control(f.control, f.unit) if f.control else ""
            yield f'<td>{number(f)}</td><td>{counted(f)}</td><td class="left wrap">{line}</td></tr>'
        yield TABLE_END
        meant = [m for m in dict.fromkeys(f.measure for f in findings) if m in MEANS]
        yield from (f'<p class="note"><b>{escape(m.replace("_", " "))}:</b> {MEANS[m]}</p>' for m in meant)
        yield "</section>"

    def untested(self) -> Iterator[str]:
        """Yield what says nothing here, and which audits were not run."""
        silent = [f for f in self.report.all() if not f.testable]
        if not silent and not self.report.lacking:
            return
        yield "<section><h2>Not testable here</h2><ul>"
        for f in silent:
            yield f"<li><b>{escape(f.subject)}, {escape(named(f))}:</b> {escape(f.reason)}</li>"
        for slug, reason in self.report.lacking.items():
            yield f"<li><b>{escape(slug)}</b> was not run: {escape(reason)}</li>"
        yield "</ul></section>"


def rows_of(data: AuditData, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return (table, content key) -> row of the wanted pictures; other tables are not read."""
    pictures: dict[tuple[str, str], int] = {}
    for name in {probe for probe, _ in wanted} & set(data.probes):
        keys = {key for probe, key in wanted if probe == name}
        items = data.probes[name].table.items
        for i in range(len(items)):
            if (key := items.key(i)) in keys:
                pictures.setdefault((name, key), i)
    return pictures


def named(f: Finding) -> str:
    """Return the measure with what it is about, in words: a factor by how pictures look under it."""
    if not f.about:
        return f.title
    return f"{f.title}, {WORDS[f.about]}" if f.about in WORDS else f"{f.title} about {f.about}"


def number(f: Finding) -> str:
    """Return the value with its interval, in percent for fractions."""
    assert f.value is not None, "a finding that is not testable has no number"
    ends = "" if f.interval is None else f" [{_amount(f.interval[0], f.unit)}, {_amount(f.interval[1], f.unit)}]"
    return f"{_amount(f.value, f.unit)}{ends}{' %' if f.unit == 'fraction' else f' {escape(f.unit)}'}"


def counted(f: Finding) -> str:
    """Return what was counted."""
    return "" if f.count is None else f"{f.count} {'pictures' if f.counted == 'items' else escape(f.counted)}"


def control(c: Control, unit: str) -> str:
    """Return what the control found, in words."""
    ends = f"[{_amount(c.interval[0], unit)}, {_amount(c.interval[1], unit)}]"
    line = f"Control, where there is nothing to find ({escape(c.title)}): {_amount(c.value, unit)} {ends}"
    if c.held:
        return f"{line}. It found nothing, as it must."
    return f"{line}. It found something, so do not rely on this finding."


def _amount(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return "-∞" if value < 0 else "∞"
    return f"{100 * value:.1f}" if unit == "fraction" else three_digits(value)


def _voted(b: Blamed) -> str:
    return f"training picture of {b.label}, {number_of(b.count, 'vote')}"
