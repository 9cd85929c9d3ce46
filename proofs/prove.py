"""``diptych prove``: does a system do what its card claims, on real photos, and does its control fail?

A claim is shown when the one-sided 95 % interval of its gain over the baseline, paired by seed and item, lies above 0.
A control has failed, as it must, when that interval of its gain includes 0. Fewer seeds than the card asks for (five,
or three where the field's protocol fixes three) show nothing, whatever they say.

The proofs of a verb stand in ``proofs/<verb>.py``, which is imported when one of them is run.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from diptych import catalog
from diptych.core import Backbone, Card, ProofPlan, Run, UnreadableItem, UsageError
from diptych.data.files import plain
from diptych.data.named_sets import all_present
from diptych.data.words.templates import ENSEMBLE
from diptych.tasks.classify import with_store
from diptych.tasks.record import circumstances
from proofs import loaded
from proofs.code import code_of


@dataclass(frozen=True)
class Proof:
    """The result of a proof; ``as_dict`` is what ``results/<slug>.json`` holds.

    Args:
        shown: all claims are shown and all controls have failed, on every data set, over as many seeds as the card asks
            for.
        datasets: data set -> its hash, items, claims and controls, as plain data.
    """

    slug: str
    shown: bool
    datasets: Sequence[Mapping[str, Any]]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return plain({"kind": "proof", "slug": self.slug, "shown": self.shown, **self.facts, "datasets": self.datasets})


def prove(
    slug: str,
    backbone: Backbone,
    run: Run,
    *,
    datasets: Sequence[str] | None = None,
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
    fitted: Path | None = None,
    command: str = "",
) -> Proof:
    """Run the proof of one system.

    Args:
        slug: of the system, or SLUG:ROW of a row with a proof of its own; the card holds claim and control in words,
            ``proofs.<verb>`` in code.
        backbone: for the system and its baselines.
        run: device, cache and progress.
        datasets: names or paths; None: those of the card.
        seeds: of draws, shuffles and systems.
        fitted: folder of what was fitted before, which is measured in the place of the proved fit; None: it is fitted.
        command: the command line that repeats the proof.

    Raises:
        UsageError: there is no such system or row, it has no proof, there are fewer than three seeds, or the folder
            does not fit, see ``proofs.loaded``.
        NotAvailable: a data set is not on this machine.
        DataError: a data set has too few items.
    """
    card, plan = planned(slug)
    trial, opener = _trial(slug)
    if trial is None or plan is None:
        proved = ", ".join(c["slug"] for c in catalog.cards() if c["proof"] and _trial(c["slug"])[0] is not None)
        raise UsageError(f"{slug} has no proof yet; these have: {proved}.")
    if len(set(seeds)) < 3:
        raise UsageError(f"A proof takes at least 3 different seeds, got {', '.join(map(str, seeds))}: give more.")
    about = None if fitted is None else loaded.check(slug, card, trial, fitted)
    start = time.perf_counter()
    verdicts: list[dict[str, Any]] = []
    failed: dict[str, UnreadableItem] = {}
    source: dict[str, str] = {}
    metric, names = "", tuple(datasets or plan.datasets)
    all_present(names)  # before the first is measured
    with with_store(run) as stored, stored.track(f"prove {slug}", len(names)) as bar:
        for name in names:
            bench = (trial.bench or opener)(name, backbone, stored, tuple(seeds))
            artefact = None if fitted is None or about is None else loaded.read(slug, trial, fitted, about, bench)
            source = artefact.as_dict() if artefact else {}
            verdicts.append({"dataset": name, **trial.judge(card.slug, name, bench, artefact)})
            failed |= {e.name: e for e in bench.failed}
            metric = bench.metric
            bar.advance()
    claims, controls = ([item for d in verdicts for item in d[kind]] for kind in ("claims", "controls"))
    held = bool(claims) and all(c["shown"] for c in claims) and all(c["failed"] for c in controls)
    shown = held and len(set(seeds)) >= plan.seeds
    facts = {
        "name": ", ".join(filter(None, (card.name, slug.partition(":")[2]))),
        "stage": plan.stage if shown else None,
        "claim": plan.claim,
        "control": plan.control,
        "metric": metric,
        **({"fitted": source} if source else {}),
        "seeds": list(seeds),
        "seeds_needed": plan.seeds,
        "val": "full",
        "templates": list(ENSEMBLE),
        "code": code_of(slug),
        "seconds": round(time.perf_counter() - start, 2),
        **circumstances(backbone, run, command),
        "skipped": [str(e) for e in failed.values()],
    }
    return Proof(slug, shown, verdicts, facts)


def planned(slug: str) -> tuple[Card, ProofPlan | None]:
    """Return the card of SLUG or SLUG:ROW, and the plan of its proof; None where there is none.

    Raises:
        UsageError: there is no such system or row.
    """
    system, _, row = slug.partition(":")
    method = catalog.find(system)
    if not row:
        return method.card, method.card.proof
    catalog.row(method, row)
    return method.card, method.card.row_proofs.get(row)


def _trial(slug: str) -> tuple[Any, Any]:
    """Return the trial of a system or row, and what opens the bench of its verb; None where there is none."""
    module = f"proofs.{catalog.find(slug.partition(':')[0]).card.verb}"
    if importlib.util.find_spec(module) is None:
        return None, None
    table = import_module(module)
    return table.TRIALS.get(slug), getattr(table, "open_bench", None)
