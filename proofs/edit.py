"""Proofs of editors: of pictures whose factors are known, is what was named changed, and nothing else?

Pictures and asks are the same for all seeds; the seeds draw banks, trainings and shuffles. Thresholds, and the
strengths of the twins that have one, are chosen on val asks for each twin apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.backbones.generators.factors import FactorGenerator
from diptych.core import Backbone, Evidence, Kit, NotAvailable, Run
from diptych.evaluation.arms import Arm, Floats
from diptych.methods.edit.deltaedit import DeltaEdit, FittedDeltaEdit, embedded
from diptych.nn.delta_mapper import direction, movable
from proofs.benches.edits import clips as clips_edit
from proofs.benches.edits import inversion, styles, words_to_pictures
from proofs.benches.edits.asks import Asks, Bench, Factors, Pictures, Words, asks, clean, details
from proofs.trial import Claim, Tabled, Trial

BETAS = (0.0, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3)
STRENGTHS = (0.5, 1.0, 1.5, 2.0, 4.0, 8.0)
METRIC, SPOILT, FRESH = "clean_edits", "words of others", "other asks"
SPOILT_WHOLE = "words of others, no mask"
Change = Callable[[Tensor, Tensor], Tensor]
Edits = Callable[[Asks, float], Tensor]


def open_edits(
    name: str,
    backbone: Backbone,
    run: Run,
    seeds: tuple[int, ...],
    *,
    items: int = 240,
    bank: int = 2048,
    passes: int = 30,
    probes: int = 16,
) -> Tabled:
    """Measure edits: on "factors" the method with its twins and control, on "small" one seed, without other trainings.

    The data sets are generators. The method has a smaller bank and fewer passes and probes than the card's variant
    "small": sixteen trainings are to end in minutes.
    """
    if name not in ("factors", "small"):
        raise NotAvailable(f"{name} is no generator on which edits can be read: this proof takes factors and small.")
    settings = {**DeltaEdit.card.variants["small"], "bank": bank, "passes": passes, "probes": probes}
    method, whole = DeltaEdit(**settings), name == "factors"
    bench: Bench = Factors(FactorGenerator()) if whole else Pictures.small()
    words = Words.of(bench.truth, method.frames, backbone, run)
    val, test = (asks(bench, items, part) for part in ("val", "test"))
    about: dict[str, Any] = {}
    if whole:
        about["space"] = space(bench.truth, words, backbone, run)
        about["rotated_channels"] = _rotated(method, words, backbone, replace(run, seed=seeds[0]), items)
    seeds = seeds if whole else seeds[:1]
    results = [
        _seed(method, bench, words, backbone, replace(run, seed=seed), val, test, trained=whole) for seed in seeds
    ]
    table = {kind: np.stack([one.hits[kind] for one in results]) for kind in results[0].hits}
    mean = {key: float(np.mean([one.details[key] for one in results])) for key in results[0].details}
    facts = {
        "data_hash": hashlib.sha256(test.styles.s.numpy().tobytes() + test.target.numpy().tobytes()).hexdigest(),
        "items": len(test.target),
        "measured_seeds": list(seeds),
        "bank": bank,
        "method": {METRIC: float(table["own"].mean()), **mean},
        "chosen": {kind: [one.chosen[kind] for one in results] for kind in results[0].chosen},
        **about,
    }
    return Tabled(backbone, run, seeds, METRIC, facts, table)


@torch.no_grad()
def _rotated(method: DeltaEdit, words: Words, backbone: Backbone, run: Run, items: int) -> dict[str, float]:
    """Return what one seed comes to where no channel means anything alone, and the mask has nothing to hold on to."""
    bench, measured = Factors(FactorGenerator(rotation=1)), _Measured()
    val, test = (asks(bench, items, part) for part in ("val", "test"))
    fitted = method.fit(Kit({"main": backbone, "generator": bench.generator}), Evidence(), run)
    change = measured.choose("own", bench, val, test, _edits(fitted, words, direction, run))
    return {METRIC: float(measured.hits["own"].mean()), **details(bench, test, change)}


@dataclass
class _Measured:
    """What one seed measured: twin -> (N,) clean edits on test, and the threshold and strength that val chose."""

    hits: dict[str, Floats] = field(default_factory=dict)
    chosen: dict[str, tuple[float, float]] = field(default_factory=dict)
    details: dict[str, float] = field(default_factory=dict)

    def choose(
        self, name: str, bench: Bench, val: Asks, test: Asks, edits: Edits, strengths: Sequence[float] = (1.0,)
    ) -> Tensor:
        """Choose on val, keep what that comes to on test, and return the changes there."""

        def on_val(choice: tuple[float, float]) -> float:
            return float(clean(bench, val, choice[1] * edits(val, choice[0])).mean())

        beta, strength = max(((b, s) for b in BETAS for s in strengths), key=on_val)
        change = strength * edits(test, beta)
        self.hits[name], self.chosen[name] = clean(bench, test, change), (beta, strength)
        return change


@torch.no_grad()
def _seed(
    method: DeltaEdit, bench: Bench, words: Words, backbone: Backbone, run: Run, val: Asks, test: Asks, *, trained: bool
) -> _Measured:
    """Measure the method, its twins (those that are trained too, if wanted) and its control with one seed."""
    out = _Measured()
    kit = Kit({"main": backbone, "generator": bench.generator})
    bank, vectors = method.pictures(kit, Evidence(), run)
    fitted = method.from_pictures(kit, bank, vectors, run)
    edits = _edits(fitted, words, direction, run)
    out.details = details(bench, test, out.choose("own", bench, val, test, edits))
    for name, beta in (("no mask", 0.0), ("threshold 0.03", 0.03), ("threshold 1", 1.0)):
        out.hits[name] = clean(bench, test, edits(test, beta))
    middle, middle_text = vectors.mean(0), words.unit.flatten(0, 1).mean(0)
    absolute: dict[str, tuple[Change, Change]] = {
        "absolute": (lambda a, b: b, lambda a, b: b),
        "absolute, centred": (lambda a, b: direction(middle, b), lambda a, b: direction(middle_text, b)),
    }
    for name, (seen, direction_of) in absolute.items() if trained else ():
        weights = method.mapper_weights(fitted.generator, backbone, bank.s, vectors, run, seen)
        twin = replace(fitted, mapper=weights)
        out.choose(name, bench, val, test, _edits(twin, words, direction_of, run))
    if trained:
        out.choose("own, strength chosen", bench, val, test, edits, STRENGTHS)
    out.choose("global direction", bench, val, test, _along(fitted.relevance, bank.s.std(0), words), STRENGTHS)

    g = run.generator(SPOILT)
    order = torch.randperm(len(test.target), generator=g)
    others = replace(test, start=test.start[order], kind=test.kind[order], target=test.target[order])
    spoilt = edits(others, out.chosen["own"][0])
    out.hits[SPOILT_WHOLE] = clean(bench, test, edits(others, 0.0))
    sizes = words.unit.shape[0], words.unit.shape[1]
    out.hits[SPOILT] = clean(bench, test, spoilt)
    out.hits[FRESH] = clean(bench, Asks.draw(test.styles, test.start, sizes, g), spoilt)
    return out


def _edits(fitted: FittedDeltaEdit, words: Words, direction: Change, run: Run) -> Edits:
    """Return what changes the styles of asks at a threshold; the mapper answers once for all thresholds."""
    known: dict[int, tuple[Asks, Tensor, Tensor]] = {}
    free = replace(fitted, method=replace(fitted.method, beta=0.0))

    def edit(asks: Asks, beta: float) -> Tensor:
        if id(asks) not in known:
            source, target = words.at(asks.start), words.at(asks.wanted())
            change = free.moved(asks.styles, direction(source, target), target - source, run).change
            assert change is not None
            known[id(asks)] = asks, change, target - source
        _, change, d = known[id(asks)]
        return torch.where(movable(fitted.relevance, d, beta), change, 0.0)

    return edit


def _along(relevance: Tensor, spread: Tensor, words: Words) -> Edits:
    """Return StyleCLIP's global direction: channels move by their relevance where it passes the threshold."""

    def edit(asks: Asks, beta: float) -> Tensor:
        d = words.at(asks.wanted()) - words.at(asks.start)
        return torch.where(movable(relevance, d, beta), (d @ relevance.T) * spread, 0.0)

    return edit


def space(
    generator: FactorGenerator, words: Words, backbone: Backbone, run: Run, count: int = 1024
) -> dict[str, dict[str, float]]:
    """Return the distance of the modalities' centroids and the mean cosine of pairs, by kind of vector."""
    with torch.no_grad():
        styles = generator.sample(count, Run().generator("edit space"))
        i, t = embedded(generator, backbone, styles, run), words.at(Factors(generator).read(styles))
    j, u = i.roll(1, 0), t.roll(1, 0)
    kinds = {
        "raw": (i, t),
        "difference": (direction(i, j), direction(t, u)),
        "centred": (normalize(i - i.mean(0), dim=1), normalize(t - t.mean(0), dim=1)),
        "sum": (normalize(i + j, dim=1), normalize(t + u, dim=1)),
    }
    return {
        name: {"centroids": float((a.mean(0) - b.mean(0)).norm()), "cosine": float((a * b).sum(1).mean())}
        for name, (a, b) in kinds.items()
    }


_FACTORS = ("factors",)
TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "deltaedit": Trial(
            (
                Claim("absolute", on=_FACTORS),
                Claim("no mask", less=(Arm(SPOILT), Arm(SPOILT_WHOLE)), on=_FACTORS, name="gain by the right words"),
            ),
            arm=Arm("own"),
            controls=(Claim(FRESH, arm=Arm(SPOILT), on=_FACTORS), Claim("absolute", arm=Arm(SPOILT), on=_FACTORS)),
            beside={
                "threshold 0.03": Arm("threshold 0.03"),
                "threshold 1": Arm("threshold 1"),
                "global direction": Arm("global direction"),
                "absolute, centred": Claim("absolute, centred", on=_FACTORS),
                "own, strength chosen": Claim("own, strength chosen", on=_FACTORS),
            },
            bench=open_edits,
        ),
        **clips_edit.TRIALS,
        **inversion.TRIALS,
        **styles.TRIALS,
        **words_to_pictures.TRIALS,
    }
)
