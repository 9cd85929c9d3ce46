"""Proof of AstroM3 on recorded light curves: towers aligned without labels, then tuned on few labels, beside towers
from scratch.

Where a set has light curves only, they give all three modalities, each from measurements of its own: the even ones are
the light curve, the odd ones give the spectrum, which is the power over frequency, and the metadata, which are moments
and the best period. Supernovae have real spectra, but too few of them for shares: they are counted.
"""

from __future__ import annotations

import copy
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from diptych.core import Backbone, Column, DataError, Evidence, Kit, Run, Samples, Table
from diptych.data.curve_halves import halves
from diptych.data.formats.arrays import array_key
from diptych.data.formats.lightcurves import read_light_curves
from diptych.data.named_sets import present
from diptych.data.stars import Star, Stars, measured_arrays, one_band
from diptych.methods.extend.astrom3 import MODALITIES, SMALL, AstroM3, label_step
from diptych.nn.spaces.star_space import LabelNet, StarEncoder, StarSpace
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit
from proofs.trial import Hits, Tabled, each_seed, hash_of

SHOTS = 5
METRIC, SCRATCH = "acc1", "from scratch"


@dataclass(frozen=True)
class Night:
    """Stars with their classes.

    Args:
        train, test: with a column "label".
        classes: K names.
    """

    train: Table[Star]
    test: Table[Star]
    classes: tuple[str, ...]


def variables(name: str) -> Night:
    """Read variable stars of several classes (``asas_variables``), or RR Lyrae stars in band g (``rrlyrae_snia``)."""
    root = present(name, "light_curves.parquet")
    several = (root / "stars.csv").is_file()
    identity, value, error, label = (
        ("star_id", "mag", "mag_err", "coarse_class") if several else ("object_id", "value", "error", "class_name")
    )
    with (root / ("stars.csv" if several else "objects.csv")).open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if several or r[label].startswith("RR")]
    curves = read_light_curves(
        root / "light_curves.parquet", identity, "time", value, error, None if several else "band"
    )
    place = {star: i for i, star in enumerate(curves.ids)}
    grid = np.linspace(*SMALL.grid)
    classes = tuple(sorted({r[label] for r in rows}))

    def table(split: str) -> Table[Star]:
        chosen = [r for r in rows if r["split"] == split]
        curves_of = [halves(one_band(curves[place[r[identity]]], "g"), grid) for r in chosen]
        labels = np.array([classes.index(r[label]) for r in chosen], dtype=np.int64)
        return Table(Stars(tuple(r[identity] for r in chosen), curves_of), {"label": Column("label", labels)})

    return Night(table("train"), table("val"), classes)


def supernovae(name: str) -> Stars:
    """Read the supernovae that have photometry (the band with most points), a spectrum (the first), and metadata."""
    root = present(name, "spectra.parquet")
    with (root / "objects.csv").open(encoding="utf-8", newline="") as file:
        rows = {r["name"]: r for r in csv.DictReader(file)}
    curves = read_light_curves(root / "photometry.parquet", "name", "time_mjd", "mag", "mag_err", "band")
    spectra = read_light_curves(root / "spectra.parquet", "name", "wavelength_angstrom", "flux_over_median")
    first = {name: spectra[i] for i, name in reversed(list(enumerate(spectra.ids)))}
    names, lights = [], []
    for i, star in enumerate(curves.ids):
        curve = curves[i]
        if star not in first or star not in rows or len(curve.time) < 5:
            continue
        facts = [float(rows[star][c] or "nan") for c in ("redshift", "max_app_mag", "n_photometry")]
        names.append(star)
        lights.append(Star(one_band(curve), first[star], np.array(facts)))
    return Stars(tuple(names), lights)


def right(space: StarSpace, modality: str, few: Table[Star], test: Table[Star], classes: int, run: Run) -> Hits:
    """Return (N,) 1.0 where one tower of a space, tuned on few labels, names the class; the space stays as is."""
    copied = space.rebuild(copy.deepcopy(space.module()), space.spec)
    encoder = copied.encoders[modality]
    assert isinstance(encoder, StarEncoder)
    with run.seeded("head"):
        net = LabelNet(encoder, classes)
    settings = Fit(1e-3, len(few), 50, optimizer="adam", betas=(0.9, 0.999), decay=0.0, clip=5.0)
    train_parameters(label_step(net), few, settings, run, ())
    net.eval()
    with torch.no_grad():
        predicted = net(encoder.inputs([test.items[i] for i in range(len(test))])).argmax(1)
    return np.asarray(predicted.numpy() == test.labels(), dtype=np.float64)


def open_stars(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, method: AstroM3 = SMALL) -> Tabled:
    """Measure aligned towers, fresh ones, and towers aligned with other stars' modalities; the backbone has no part in
    it.

    Variable stars are many enough for shares; supernovae are counted.
    """
    if Path(name).name.startswith("sn_"):
        return Tabled(backbone, run, seeds, METRIC, _counts(name, run, seeds, method))
    night = variables(name)
    stars = night.train.items
    assert isinstance(stars, Stars)
    refuse_overlap(stars, night.test.items)

    def once(seeded: Run) -> dict[str, Hits]:
        few, hits = _few(night.train, seeded), dict[str, Hits]()
        order = np.random.default_rng(seeded.integer("pairs")).permutation(len(stars)).tolist()
        makers: Mapping[str, Callable[[], StarSpace]] = {
            "aligned": lambda: _aligned(method, stars, seeded),
            SCRATCH: lambda: method.fresh(stars, seeded),
            "shuffled": lambda: _aligned(method, paired_anew(stars, order), seeded),
        }
        for kind, make in makers.items():
            space = make()
            for modality in MODALITIES:
                name = kind if modality == "photometry" else f"{modality} {kind}"
                hits[name] = right(space, modality, few, night.test, len(night.classes), seeded)
        return hits

    facts = {"data_hash": hash_of(stars, night.test.items), "items": len(night.test)}
    facts |= {"unlabelled": len(stars), "classes": len(night.classes)}
    return Tabled(backbone, run, seeds, METRIC, facts, each_seed(once, run, seeds))


def _counts(name: str, run: Run, seeds: Sequence[int], method: AstroM3) -> dict[str, Any]:
    """Count held-out supernovae whose own spectrum is nearest to their light curve, aligned and misaligned."""
    stars = supernovae(name)
    method = replace(method, grid=(3500.0, 8000.0, 256), batch=16)
    counts: dict[str, list[int]] = {"aligned": [], "shuffled": []}
    held = max(2, len(stars) // 3)
    for s in seeds:
        seeded = replace(run, seed=s)
        order = np.random.default_rng(seeded.integer("split")).permutation(len(stars))
        seen, test = _taken(stars, order[held:]), _taken(stars, order[:held])
        pairs = np.random.default_rng(seeded.integer("pairs")).permutation(len(seen)).tolist()
        for kind, data in (("aligned", seen), ("shuffled", paired_anew(seen, pairs))):
            space = _aligned(method, data, seeded)
            p, q = (space.encoders[m] for m in ("photometry", "spectra"))
            with torch.no_grad():
                x, y = (normalize(e.encode(e.inputs(list(test.stars))), dim=-1) for e in (p, q))
            counts[kind].append(int((x @ y.T).argmax(1).eq(torch.arange(held)).sum()))
    sizes = {"items": held, "unlabelled": len(stars) - held, "classes": held}
    return {"data_hash": hash_of(stars), **sizes, "right": counts}


def _aligned(method: AstroM3, stars: Stars, run: Run) -> StarSpace:
    return method.fit(Kit(), Evidence(unlabelled=stars), run)


def _few(table: Table[Star], run: Run) -> Table[Star]:
    labels, rng = table.labels(), np.random.default_rng(run.integer("shots"))
    return table.take(
        np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:SHOTS] for k in np.unique(labels)]).tolist()
    )


def _taken(stars: Stars, rows: NDArray[np.int64]) -> Stars:
    return Stars(tuple(stars.names[i] for i in rows), [stars.stars[i] for i in rows])


def paired_anew(stars: Stars, order: Sequence[int]) -> Stars:
    """Return complete stars with shuffled spectra and metadata, as a control of pairing: the (N,) permutation is
    applied once to spectra and twice to metadata.
    """
    shuffled = [
        replace(star, spectrum=stars.stars[order[i]].spectrum, metadata=stars.stars[order[order[i]]].metadata)
        for i, star in enumerate(stars.stars)
    ]
    return Stars(stars.names, shuffled)


def refuse_overlap(seen: Samples[Star], test: Samples[Star]) -> None:
    """Raise where a test star was seen in training, in any of its modalities.

    Pre-training and fine-tuning must use one split. Two stars are the same where their names are, whatever was observed
    of them, or where their light curves, or their spectra, are equal; metadata decide where a star has neither.

    Raises:
        DataError: a star is in both.
    """
    known = [_parts(seen[i]) for i in range(len(seen))]
    observed = {part for parts, _ in known for part in parts}
    facts = {fact for _, fact in known if fact}
    alone = {fact for parts, fact in known if fact and not parts}
    names = {seen.name(i) for i in range(len(seen))}
    both = []
    for i in range(len(test)):
        parts, fact = _parts(test[i])
        if test.name(i) in names or parts & observed or fact in (alone if parts else facts):
            both.append(test.name(i))
    if both:
        raise DataError(f"{len(both)} test stars were seen in training, {both[0]} first: cut both by one split.")


def _parts(star: Star) -> tuple[set[str], str]:
    """Return the hashes of curve and spectrum where there are any, and of the metadata, "" without."""
    observed = {kind: measured_arrays(curve) for kind, curve in (("curve", star.curve), ("spectrum", star.spectrum))}
    parts = {f"{kind}/{array_key(*arrays)}" for kind, arrays in observed.items() if arrays}
    return parts, "" if star.metadata is None else array_key(star.metadata)
