"""Run the audits on a model with and without planted faults, and compare with the matrix that was written before.

    python -m benchmarks.planted [--backbone oracle|tiny|lite] [--seed 1] [--out FILE] [--overwrite]

Exit code 1: a cell is not what was written down.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.planted.matrix import CELLS, judged, written
from benchmarks.planted.models import FAULTS, HONEST, TWIN_MODEL, Fault, Planted
from benchmarks.planted.scored import scored
from benchmarks.planted.tables import OPACITIES, Sizes, tables
from diptych import catalog
from diptych.backbones.sources.load import load
from diptych.core import AuditData, Auditor, Finding, Kit, Run, Samples, Subject
from diptych.data.files import plain, write_json
from diptych.tasks.record import machine, now, versions

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "shortcut-learning": {"opacities": OPACITIES},
    "holistic-robustness": {"most": 100},
}
"""Audit -> settings that are not its own.

Squares are shown as they are, for no other opacity is in the matrix. Fewer pictures are altered of real backbones.
"""
REAL = Sizes(own=400, shift=240, cues=120, ood=200, pairs=80)
"""Sizes for real backbones, which take longer than the oracle."""
AUDITS = ("holistic-robustness", "counteranimal", "shortcut-learning", "mmvp", "concept-association-bias")
"""Those that take a model as it is; for the others see ``scored``."""


def audited(model: Planted, data: AuditData, run: Run, again: Samples[Any] | None = None) -> dict[str, list[Finding]]:
    """Return audit -> findings about one model alone, which then selects its own groups.

    Args:
        model: the oracle or a wrapped backbone.
        data: the tables.
        run: seed.
        again: what scorers of edits need, see ``tables``; None: they are left out, as are words and sources.
    """
    subject = {model.fault.name: Subject(Kit({"main": model}))}
    cells = {}
    for slug in AUDITS:
        real = slug == "shortcut-learning" or model.inner is not None
        auditor: Auditor = catalog.find(slug, Auditor)(**SETTINGS.get(slug, {}) if real else {})
        cells[slug] = auditor.audit(subject, data, run)
    return cells if again is None else cells | scored(model, data, again, run)


def matrix(name: str, seed: int, sizes: Sizes | None = None) -> dict[str, Any]:
    """Return the matrix of one backbone as plain data.

    Args:
        name: "oracle", or of a backbone.
        seed: of the scenes and of the audits.
        sizes: of the tables; None: 2,400 own pictures for the oracle, 400 for a real backbone.
    """
    sizes = sizes or (Sizes() if name == "oracle" else REAL)
    start, run = time.perf_counter(), Run(seed=seed, cache=None)
    data, world, again = tables(seed, sizes)
    inner = None if name == "oracle" else load(name)
    seen: dict[bytes, Tensor] = {}

    def of(fault: Fault, noise: int = 0) -> dict[str, list[Finding]]:
        return audited(Planted(world, fault, inner, noise, seen), data, run, again)

    twins = {} if inner is not None else {TWIN_MODEL.name: of(TWIN_MODEL, 1)}
    honest = of(HONEST)
    rows = judged(honest, {**twins, **{fault.name: of(fault) for fault in FAULTS}}, written(name))
    cells = [cell for row in rows for cell in row["cells"]]
    return {
        "kind": "planted faults",
        "backbone": name,
        "seed": seed,
        "tables": {key: len(probe.table) for key, probe in data.probes.items()},
        "columns": [{"title": c.title, "audit": c.audit, "measure": c.measure, "about": c.about} for c in CELLS],
        "faults": {fault.name: fault.says for fault in (TWIN_MODEL, *FAULTS)},
        "rows": rows,
        "as_written": sum(cell["right"] is True for cell in cells),
        "otherwise": sum(cell["right"] is False for cell in cells),
        "open": sum(cell["right"] is None and not cell["unhealthy"] for cell in cells),
        "unhealthy": sum(bool(cell["unhealthy"]) and cell["right"] is None for cell in cells),
        "seconds": round(time.perf_counter() - start, 1),
        "versions": versions(),
        "machine": machine(),
        "date": now(),
    }


def main(words: list[str] | None = None) -> int:
    """Measure, print what is not as written, and write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planted", description=__doc__.split("\n")[0])
    parser.add_argument("--backbone", default="oracle", help="oracle, or a backbone such as tiny")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="default: results/faults/BACKBONE.json")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args(words)
    out = options.out or Path("results/faults") / f"{options.backbone}.json"
    results = matrix(options.backbone, options.seed)
    command = f"python -m benchmarks.planted --backbone {options.backbone} --seed {options.seed}"
    write_json(out, plain({**results, "command": command}), overwrite=options.overwrite)
    for row in results["rows"]:
        for cell in row["cells"]:
            if cell["right"] is False:
                came = cell["found"] or cell["unhealthy"]
                print(f"{row['fault']}, {cell['column']}: {cell['expected']} was written, {came} came out")
    print(
        f"{out}: {results['as_written']} cells as written, {results['otherwise']} otherwise, {results['open']} open, "
        f"{results['unhealthy']} not healthy, {results['seconds']:.0f} s"
    )
    return int(results["otherwise"] > 0)


if __name__ == "__main__":
    sys.exit(main())
