"""All findings of the audits about several backbones, and how far each is from the first one.

    gain = v - v_base

paired where both were measured on the same units, such as pictures, pairs or classes (``Finding.units``): then the
interval is of the mean difference. Elsewhere it follows from the two intervals, as if they were independent, and is too
wide.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.names import parse
from diptych.backbones.provenance import record_of
from diptych.backbones.sources.load_options import split_name
from diptych.core import (
    AuditData,
    Auditor,
    Backbone,
    DamagedStore,
    DiptychError,
    Finding,
    Kit,
    Run,
    Subject,
    UnreadableItem,
    UsageError,
)
from diptych.data.files import plain, read_json, write_json, write_whole
from diptych.evaluation.few_shot.inputs import code_of
from diptych.evaluation.kept import Unwritten, described, digest, kept, write_arrays
from diptych.evaluation.schedule import Limits, work
from diptych.metrics.closed_intervals import apart, t_mean
from diptych.metrics.interval import Interval, paired_bootstrap
from diptych.metrics.pair_mean import pair_mean
from diptych.tasks.audit.report import auditors
from diptych.tasks.record import circumstances, engine_of, versions

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


@dataclass(frozen=True)
class AuditBoard:
    """A finished or interrupted board.

    Args:
        rows: backbones in the order in which they were asked for; the first is the base.
        missing: backbone -> why it could not run; ``late``: what the budget left out.
        interrupted: whether Ctrl-C ended it.
        failed: items that cannot be read.
        facts: data, tables, seed, device, versions, command, date.
    """

    rows: tuple[AuditedBackbone, ...]
    missing: Mapping[str, str]
    late: Mapping[str, str]
    interrupted: bool
    failed: tuple[UnreadableItem, ...]
    facts: Mapping[str, Any]

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

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        rows = []
        for row in self.rows:
            findings = []
            for f in row.findings:
                found = self.gain(row, (f["audit"], f["measure"], f["about"]))
                gain = found and {"value": found[0].value, "ci95": [found[0].low, found[0].high], "paired": found[1]}
                findings.append({**f, "gain": gain})
            own = {"backbone": row.backbone, "fingerprint": row.fingerprint, "seconds": round(row.seconds, 3)}
            rows.append({**own, "not_run": row.lacking, "findings": findings})
        return plain(
            {
                "kind": "board",
                "verb": "audit",
                **self.facts,
                "complete": not (self.interrupted or self.late),
                "missing": self.missing,
                "late": self.late,
                "skipped": [str(e) for e in self.failed],
                "rows": rows,
            }
        )

    def write(self, out: Path, *, overwrite: bool = False) -> None:
        """Write board.json, and a line a finding and backbone as board.csv."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        ends = ("value", "low", "high")
        writer.writerow(
            ["backbone", "audit", "measure", "about", *ends, *(f"gain_{e}" for e in ends), "paired", "unit", "count"]
        )
        for row in self.rows:
            for f in row.findings:
                found = self.gain(row, (f["audit"], f["measure"], f["about"]))
                gain = ("", "", "", "") if found is None else (found[0].value, found[0].low, found[0].high, found[1])
                low, high = f["interval"] or ("", "")
                about = (row.backbone, f["audit"], f["measure"], f["about"], f["value"], low, high)
                writer.writerow([*about, *gain, f["unit"], f["count"]])
        write_json(out / "board.json", self.as_dict(), overwrite=overwrite)
        write_whole(out / "board.csv", text.getvalue(), overwrite=overwrite)


def difference(
    own: Mapping[str, Any],
    base: Mapping[str, Any],
    units: Floats | None,
    others: Floats | None,
    seed: int,
    joined: Ints | None = None,
) -> tuple[Interval, bool] | None:
    """Return how far one finding is above another with its 95 % interval, and whether units were paired.

    Args:
        own: a finding, as plain data.
        base: the finding of the same measure about the base.
        units: of ``own``, where it has some.
        others: of ``base``.
        seed: of the bootstrap.
        joined: (N, 2) items that the units of both join; None where units share no items.

    Returns:
        None where one of them has no value, or no interval from which that of the difference follows.
    """
    if own["value"] is None or base["value"] is None:
        return None
    if units is not None and others is not None and len(units) == len(others) > 1:
        if own["counted"] == "classes":
            return t_mean(units - others), True
        if joined is not None:
            return pair_mean(units - others, joined), True
        return paired_bootstrap(units[None], others[None], seed), True
    if any(f["interval"] is None or None in f["interval"] for f in (own, base)):
        return None
    return apart(*(Interval(f["value"], *f["interval"]) for f in (own, base))), False


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
        if out is None:
            return None
        used = {name: version for name, version in versions().items() if name in ("diptych", "torch")}
        code = {slug: code_of(type(auditor)) for slug, auditor in auditors(self.only).items()}
        inputs = digest(
            [described([self.data, self.run]), backbone, self.base, engine_of(backbone, self.run), used, code]
        )
        stem = "".join(c if c.isalnum() or c in "-." else "-" for c in backbone.spec.name)
        return out / "rows" / f"{stem}-{inputs[:12]}.json"

    def measure(self, backbone: Backbone) -> AuditedBackbone:
        """Run every audit that the data allow on one backbone.

        An audit that selects something by a reference, such as groups, selects it by the base for all.
        """
        start, name, base = monotonic(), backbone.spec.name, self.base.spec.name
        found: list[tuple[str, Finding]] = []
        lacking: dict[str, str] = {}
        alone = {name: _subject(backbone)}
        for slug, auditor in auditors(self.only).items():
            selects = "reference" in {f.name for f in fields(auditor)}  # type: ignore[arg-type]
            subjects = {base: _subject(self.base), **alone} if selects else alone
            made: Auditor = replace(auditor, reference=base) if selects else auditor  # type: ignore[type-var]
            lack = made.lacks(subjects, self.data)
            try:
                if not lack:
                    found += [(slug, f) for f in made.audit(subjects, self.data, self.run) if f.subject == name]
            except DiptychError as error:
                lack = str(error)
            if lack:
                lacking[slug] = lack
        findings = tuple(plain({"audit": slug, **f.as_dict()}) for slug, f in found)
        units = {i: np.asarray(f.units, dtype=np.float64) for i, (_, f) in enumerate(found) if f.units is not None}
        joined = {i: np.asarray(f.joined, dtype=np.int64) for i, (_, f) in enumerate(found) if f.joined is not None}
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
    What stops the base stops the board; what stops another backbone is named in its place. Ctrl-C and the budget leave
    a board of the rows that were finished.

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
        return kept(bench.path(backbone, keep), _load, lambda: bench.measure(backbone), _save)

    worked = work(
        [base, *dict.fromkeys(names)],
        measure,
        bench.run,
        label=lambda name: name,
        always=base.__eq__,
        stops=base.__eq__,
        faults=(Unwritten,),
        limits=Limits(budget),
    )
    if worked.interrupted and not worked.done:
        raise KeyboardInterrupt
    facts = {**bench.facts, "budget": budget, **circumstances(bench.base, bench.run, command)}
    rows = tuple(row for _, row, _ in worked.done)
    return AuditBoard(rows, worked.missing, worked.late, worked.interrupted, bench.failed, facts)


JOINED = "joined "
"""Before the number of a finding in the file of its units."""


def _subject(backbone: Backbone) -> Subject:
    return Subject(Kit.of(backbone), record_of(backbone.spec))


def _save(path: Path, row: AuditedBackbone) -> None:
    arrays = {str(i): v for i, v in row.units.items()} | {f"{JOINED}{i}": v for i, v in row.joined.items()}
    write_arrays(path.with_suffix(".npz"), arrays)
    about = {"backbone": row.backbone, "fingerprint": row.fingerprint, "seconds": row.seconds}
    write_json(path, plain({**about, "lacking": row.lacking, "findings": row.findings}), overwrite=True)


def _load(path: Path) -> AuditedBackbone:
    data = read_json(path)
    try:
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
            units = {int(i): file[i] for i in file.files if not i.startswith(JOINED)}
            joined = {int(i.removeprefix(JOINED)): file[i] for i in file.files if i.startswith(JOINED)}
        findings = tuple(data["findings"])
        return AuditedBackbone(
            data["backbone"], data["fingerprint"], findings, units, data["lacking"], float(data["seconds"]), joined
        )
    except Exception as error:  # np.load raises OSError, ValueError, KeyError, BadZipFile, EOFError ...
        raise DamagedStore(f"{path} does not hold a row of a board: delete it and run again.") from error
