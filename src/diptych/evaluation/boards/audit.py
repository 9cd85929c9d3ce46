"""All findings of the audits about several backbones, and how far each is from the first one.

    gain = v - v_base

paired where both were measured on the same units, such as pictures, pairs or classes (``Finding.units``): then the
interval is of the mean difference. Elsewhere it follows from the two intervals, as if they were independent, and is too
wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.names import parse
from diptych.backbones.provenance import subject_of
from diptych.backbones.sources.load_options import split_name
from diptych.core import (
    AuditData,
    Auditor,
    Backbone,
    DiptychError,
    Finding,
    Run,
    UnreadableItem,
    UsageError,
)
from diptych.data.files import plain
from diptych.evaluation.board import BoardOf, measured
from diptych.evaluation.few_shot.inputs import code_of
from diptych.evaluation.kept import described, digest, read_or_measure, row_file
from diptych.metrics.closed_intervals import apart, t_mean
from diptych.metrics.estimate import Interval
from diptych.metrics.interval import paired_bootstrap
from diptych.metrics.pair_mean import pair_mean
from diptych.tasks.audit.report import auditors
from diptych.tasks.record import circumstances, deciding_versions, engine_of

Key: TypeAlias = tuple[str, str, str]
"""(audit, measure, about) of a finding."""
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class AuditedBackbone:
    """What was found about one backbone.

    Args:
        backbone: canonical name; ``fingerprint``: of its weights.
        findings: as plain data, with the slug of the audit as "audit".
        units: number of a finding -> its units.
        joined: number of a finding -> the items that its units join, where units share items.
        lacking: audit -> why it was not run.
    """

    backbone: str
    fingerprint: str
    findings: tuple[Mapping[str, Any], ...]
    units: Mapping[int, Floats]
    lacking: Mapping[str, str]
    seconds: float
    joined: Mapping[int, Ints] = field(default_factory=dict)

    def keys(self) -> dict[Key, int]:
        """Return the key of each finding -> its number."""
        return {(f["audit"], f["measure"], f["about"]): i for i, f in enumerate(self.findings)}


class AuditBoard(BoardOf[AuditedBackbone]):
    """A board of backbones in the order in which they were named; the first is the base."""

    @property
    def keys(self) -> tuple[Key, ...]:
        """All findings, in the order in which they first occur."""
        return tuple(dict.fromkeys(key for row in self.rows for key in row.keys()))  # noqa: SIM118 - no mapping

    def gain(self, row: AuditedBackbone, key: Key) -> tuple[Interval, bool] | None:
        """Return how far a finding is above that of the base, and whether by pairs; None where there is no number."""
        base = self.rows[0]
        i, j = row.keys().get(key), base.keys().get(key)
        if row is base or i is None or j is None:
            return None
        return difference(
            row.findings[i],
            base.findings[j],
            row.units.get(i),
            base.units.get(j),
            int(self.facts["seed"]),
            row.joined.get(i),
        )

    def row(self, row: AuditedBackbone) -> dict[str, Any]:
        """Return plain data of a backbone."""
        about = {"backbone": row.backbone, "fingerprint": row.fingerprint, "seconds": round(row.seconds, 3)}
        findings = []
        for finding, gain in self._gains(row):
            over = gain and {"value": gain[0].value, "ci95": [gain[0].low, gain[0].high], "paired": gain[1]}
            findings.append({**finding, "gain": over})
        return {**about, "not_run": row.lacking, "findings": findings}

    def lines(self, row: AuditedBackbone) -> list[dict[str, Any]]:
        """Return a line for each finding."""
        lines = []
        for f, over in self._gains(row):
            gain = ("", "", "", "") if over is None else (over[0].value, over[0].low, over[0].high, over[1])
            low, high = f["interval"] or ("", "")
            about = {"backbone": row.backbone, **{name: f[name] for name in ("audit", "measure", "about", "value")}}
            ends = dict(zip(("gain_value", "gain_low", "gain_high", "paired"), gain, strict=True))
            lines.append({**about, "low": low, "high": high, **ends, "unit": f["unit"], "count": f["count"]})
        return lines

    def _gains(self, row: AuditedBackbone) -> Iterator[tuple[Mapping[str, Any], tuple[Interval, bool] | None]]:
        for finding in row.findings:
            yield finding, self.gain(row, (finding["audit"], finding["measure"], finding["about"]))


def difference(
    finding: Mapping[str, Any],
    base: Mapping[str, Any],
    units: Floats | None,
    others: Floats | None,
    seed: int,
    joined: Ints | None = None,
) -> tuple[Interval, bool] | None:
    """Return how far one finding is above another with its 95 % interval, and whether units were paired.

    Args:
        finding: as plain data.
        base: the finding of the same measure about the base.
        units: of ``finding``, where it has some.
        others: of ``base``.
        seed: of the bootstrap.
        joined: (N, 2) items that the units of both join; None where units share no items.

    Returns:
        None where one of them has no value, or no interval from which that of the difference follows.
    """
    if finding["value"] is None or base["value"] is None:
        return None
    if units is not None and others is not None and len(units) == len(others) > 1:
        low, high = finding["range"]
        width = math.inf if low is None or high is None else high - low
        possible = (-width, width)
        if finding["counted"] == "classes":
            return t_mean(units - others, possible=possible), True
        if joined is not None:
            return pair_mean(units - others, joined), True
        return paired_bootstrap(units[None], others[None], seed, possible=possible), True
    if any(f["interval"] is None or None in f["interval"] for f in (finding, base)):
        return None
    return apart(*(Interval(f["value"], *f["interval"]) for f in (finding, base))), False


@dataclass(frozen=True)
class AuditBench:
    """How backbones are audited: on the same tables, with the same seed, and the groups that the base selects.

    Args:
        run: device, cache, and the seed of halves and controls.
        only: audits; () are all.
        failed: items that cannot be read.

    Raises:
        UsageError: an audit is unknown.
    """

    dataset: str
    data: AuditData
    base: Backbone
    run: Run
    only: tuple[str, ...] = ()
    failed: tuple[UnreadableItem, ...] = ()

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash, tables and seed."""
        tables = {name: {"role": p.role, "items": len(p.table)} for name, p in self.data.probes.items()}
        about = {"dataset": self.dataset, "data_hash": digest(self.data), "tables": tables}
        return {**about, "seed": self.run.seed, "base": self.base.spec.name}

    def path(self, backbone: Backbone, out: Path | None) -> Path | None:
        """Return the file of a backbone, whose name holds the hash of all that decides its findings."""
        code = {slug: code_of(type(auditor)) for slug, auditor in auditors(self.only).items()}
        engine, used = engine_of(backbone, self.run), deciding_versions()
        inputs = digest([described([self.data, self.run]), backbone, self.base, engine, used, code])
        return row_file(out, ["".join(c if c.isalnum() or c in "-." else "-" for c in backbone.spec.name)], inputs)

    def measure(self, backbone: Backbone) -> AuditedBackbone:
        """Run every audit that the data allow on one backbone.

        An audit that selects something by a reference, such as groups, selects it by the base for all.
        """
        start, name, base = monotonic(), backbone.spec.name, self.base.spec.name
        results: list[tuple[str, Finding]] = []
        lacking: dict[str, str] = {}
        alone = {name: subject_of(backbone)}
        for slug, auditor in auditors(self.only).items():
            selects = "reference" in {f.name for f in fields(auditor)}  # type: ignore[arg-type]
            subjects = {base: subject_of(self.base), **alone} if selects else alone
            chosen: Auditor = replace(auditor, reference=base) if selects else auditor  # type: ignore[type-var]
            lack = chosen.lacks(subjects, self.data)
            try:
                if not lack:
                    results += [(slug, f) for f in chosen.audit(subjects, self.data, self.run) if f.subject == name]
            except DiptychError as error:
                lack = str(error)
            if lack:
                lacking[slug] = lack
        findings = tuple(plain({"audit": slug, **f.as_dict()}) for slug, f in results)
        units = {i: np.asarray(f.units, dtype=np.float64) for i, (_, f) in enumerate(results) if f.units is not None}
        joined = {i: np.asarray(f.joined, dtype=np.int64) for i, (_, f) in enumerate(results) if f.joined is not None}
        return AuditedBackbone(name, backbone.fingerprint, findings, units, lacking, monotonic() - start, joined)


def audit_board(
    bench: AuditBench,
    names: Sequence[str],
    load: Callable[[str], Backbone],
    *,
    budget: float | None = None,
    keep: Path | None = None,
    command: str = "",
) -> AuditBoard:
    """Audit the base and every other backbone.

    A finished row lies in ``keep/rows`` before the next begins, and is read from there where its inputs are the same.

    Args:
        bench: tables and base.
        names: of the other backbones.
        load: opens one by its name.
        budget: seconds for all rows; the base runs in any case. None: no end.
        keep: folder of the board; None: no row is kept.
        command: the command line that repeats the run.

    Raises:
        UsageError: there is no other backbone, one has no known name or is the base, or the budget is not above 0.
        Unwritten: a finished row cannot be kept.
        KeyboardInterrupt: before any row was finished.
    """
    if not names:
        raise UsageError("A board of audits compares at least two backbones: give another one in {against}.")
    base = bench.base.spec.name
    for name in names:  # before the first audit
        if name == base or (parse(split_name(name)[0]).canonical == base and "?" not in name):
            raise UsageError(f"{{against}} {name} is the backbone that the others are compared with: name another.")

    def measure(name: str) -> AuditedBackbone:
        backbone = bench.base if name == base else load(name)
        return read_or_measure(keep and bench.path(backbone, keep), lambda: bench.measure(backbone), _to_file, _of_file)

    every = [base, *dict.fromkeys(names)]
    worked = measured(every, measure, bench.run, label=str, always=[base], budget=budget)
    facts = {**bench.facts, "budget": budget, **circumstances(bench.base, bench.run, command)}
    rows = tuple(row for _, row, _ in worked.done)
    return AuditBoard("audit", rows, worked.missing, worked.late, worked.interrupted, bench.failed, facts)


JOINED = "joined "
"""Before the number of a finding in the file of its units."""


def _to_file(row: AuditedBackbone) -> tuple[dict[str, Any], dict[str, Any]]:
    arrays = {str(i): v for i, v in row.units.items()} | {f"{JOINED}{i}": v for i, v in row.joined.items()}
    about = {"backbone": row.backbone, "fingerprint": row.fingerprint, "seconds": row.seconds}
    return {**about, "lacking": row.lacking, "findings": row.findings}, arrays


def _of_file(data: dict[str, Any], arrays: dict[str, Any]) -> AuditedBackbone:
    units = {int(i): values for i, values in arrays.items() if not i.startswith(JOINED)}
    joined = {int(i.removeprefix(JOINED)): values for i, values in arrays.items() if i.startswith(JOINED)}
    return AuditedBackbone(**{**data, "findings": tuple(data["findings"])}, units=units, joined=joined)
