"""Variable stars from their light curves: towers aligned without labels, one of them tuned on labels, kept, and asked
for new stars.

The three modalities of a star all come from its one curve, from different measurements; see ``data.curve_halves``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.core import ClassNames, Column, DataError, Evidence, Kit, Run, Samples, Table, UnreadableItem, UsageError
from diptych.data.curve_halves import halves
from diptych.data.formats.lightcurves import LightCurve
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.stars import Star, Stars, one_band, refuse_overlap
from diptych.features.portable import load, save
from diptych.methods.extend.astrom3 import SMALL, AstroM3, label_step
from diptych.nn.star_space import LabelNet, StarEncoder, StarSpace
from diptych.tasks.classified import Classified, ranked
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit

LEAST = 16
"""Measurements of a curve: half of them are the curve, the others spectrum and metadata."""
LONGEST = 20_000.0
"""Days that a curve may span: its periodogram holds a cell for each 0.02 of them."""
TOWER = "photometry"


@dataclass(frozen=True)
class StarClassifier:
    """A tuned tower of light curves with its head.

    Args:
        classes: K names.
        facts: number of metadata, which the space is built with.
    """

    method: AstroM3
    classes: tuple[str, ...]
    facts: int
    state: Mapping[str, Tensor]

    def space(self) -> StarSpace:
        """Return a space of the same sizes, without weights."""
        return self.method.fresh(Stars(("",), [Star(metadata=np.zeros(self.facts))]), Run())

    def net(self) -> LabelNet:
        """Return tower and head, in eval mode."""
        net = _net(self.space(), len(self.classes))
        net.load_state_dict(dict(self.state))
        return net.eval()

    def probabilities(self, stars: Samples[Star], batch: int) -> Tensor:
        """Return (N, K) probabilities of N stars, ``batch`` at a time."""
        net = self.net()
        with torch.no_grad():
            parts = [
                net(net.encoder.inputs([stars[j] for j in range(i, min(i + batch, len(stars)))])).softmax(1)
                for i in range(0, len(stars), batch)
            ]
        return torch.cat(parts)


@dataclass(frozen=True)
class StarsExtended:
    """What was learnt.

    Args:
        classifier: to keep and to ask.
        aligned: stars whose modalities were aligned, without labels.
        labelled: those of them with a class.
        held: split that was measured on; "" if there was none.
        right: start of the tower -> right answers among ``tested`` stars of that split.
        failed: curves that could not be used.
        seconds: wall seconds.
    """

    classifier: StarClassifier
    aligned: int
    labelled: int
    held: str
    right: Mapping[str, int]
    tested: int
    failed: tuple[UnreadableItem, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        own = ("aligned", "labelled", "held", "tested")
        skipped = [e.as_dict() for e in self.failed]
        data = {"method": "astrom3", "classnames": list(self.classifier.classes), **{n: getattr(self, n) for n in own}}
        return {**data, "right": dict(self.right), "skipped": skipped, "seconds": round(self.seconds, 3)}


def extend_stars(data: LabelledData, run: Run, *, out: Path | None = None, method: AstroM3 = SMALL) -> StarsExtended:
    """Align on the stars of train and those without a class, tune on the labels, and measure on test or val beside a
    tower from scratch.

    Args:
        data: light curves with classes, see ``open_data``.
        run: seed and progress.
        out: new folder for the classifier; None keeps none.
        method: sizes and epochs.

    Raises:
        UsageError: the folder exists.
        DataError: there are no two classes in train, too few curves, or a star stands in train and in the split that is
            measured.
    """
    if out is not None and out.exists():
        raise UsageError(f"{out} exists: give another --out, nothing is overwritten.")
    start = time.perf_counter()
    labelled, failed = made_stars(data.split("train"), method)
    classes = data.classes
    if len(classes) < 2 or len(set(labelled.labels().tolist())) < len(classes):
        raise DataError(
            f"{data.name} needs stars of two or more classes, each of them in train: name a column of classes by "
            f"--label."
        )
    unlabelled, more = made_stars(data.splits["unlabelled"], method) if "unlabelled" in data.splits else (None, ())
    seen = _joined(labelled.items, None if unlabelled is None else unlabelled.items)
    held = next((s for s in ("test", "val") if s in data.splits), "")
    tested, broken = made_stars(data.splits[held], method) if held else (None, ())
    if tested is not None:
        refuse_overlap(seen, tested.items)
    right: dict[str, int] = {}
    aligned = method.fit(Kit(), Evidence(unlabelled=seen), run)
    kept = tuned(method, aligned, labelled, classes, run)
    starts = (
        {"aligned": kept}
        if tested is None
        else {"aligned": kept, "from scratch": tuned(method, method.fresh(seen, run), labelled, classes, run)}
    )
    for name, own in starts.items():
        if tested is not None:
            right[name] = int((own.probabilities(tested.items, run.batch).argmax(1).numpy() == tested.labels()).sum())
    if out is not None:
        save(kept, out)
    count = 0 if tested is None else len(tested)
    everything = (*failed, *more, *broken)
    return StarsExtended(kept, len(seen), len(labelled), held, right, count, everything, time.perf_counter() - start)


def aligner(epochs: int) -> AstroM3:
    """Return what aligns light curves, with so many passes over them.

    Raises:
        MissingExtra: what training needs is not installed.
    """
    method = replace(SMALL, epochs=epochs)
    method.check_extras()
    return method


def tuned(
    method: AstroM3, space: StarSpace, labelled: Table[Star], classes: tuple[str, ...], run: Run
) -> StarClassifier:
    """Tune the tower of light curves and a new head on labels; it takes the weights of the method's space along."""
    with run.seeded("head"):
        net = _net(space, len(classes))
    settings = Fit(1e-3, min(64, len(labelled)), 50, optimizer="adam", betas=(0.9, 0.999), decay=0.0, clip=5.0)
    state = train_parameters(label_step(net), labelled, settings, run)
    star = labelled.items[0]
    assert star.metadata is not None
    return StarClassifier(method, classes, len(star.metadata), state)


def classify_stars(
    curves: Table[LightCurve], folder: Path, run: Run, *, top: int = 5, threshold: float | None = None
) -> Classified:
    """Say of which class each star is.

    Args:
        curves: N light curves.
        folder: that ``extend_stars`` wrote.
        run: batch.
        top: classes a star, at least 1.
        threshold: leave out classes with a probability below it.

    Raises:
        DataError: the folder holds no classifier of stars, or no curve can be used.
    """
    start = time.perf_counter()
    model = load(folder, Kit())
    if not isinstance(model, StarClassifier):
        raise DataError(
            f"{folder} holds a {type(model).__name__}, which knows no light curves: give a folder of 'diptych extend "
            f"CURVES'."
        )
    loaded = time.perf_counter()
    stars, failed = made_stars(curves, model.method)
    made = time.perf_counter()
    rows = model.probabilities(stars.items, run.batch)
    order = rows.argsort(dim=1, descending=True, stable=True)[:, :top].tolist()
    predictions = ranked(stars.items, model.classes, rows, order, threshold)
    seconds = {"fit": loaded - start, "encode": made - loaded, "predict": time.perf_counter() - made}
    names = ClassNames(model.classes, ("{}",))
    return Classified(predictions, failed, names, "astrom3", "astrom3", "softmax", threshold, seconds, len(stars))


def classify_curves(
    paths: Sequence[str], folder: Path | None, run: Run, *, top: int = 5, threshold: float | None = None
) -> Classified:
    """Say of which class each star of a table is; see ``classify_stars``.

    Raises:
        UsageError: there is no folder, or several tables.
    """
    if folder is None:
        raise UsageError(
            "No backbone knows light curves by the names of classes: run 'diptych extend CURVES', and give its folder "
            "with --model."
        )
    if len(paths) > 1:
        raise UsageError("Give one table of light curves, or one folder: join your tables first.")
    items = open_data(paths[0], need="curves").whole().items
    return classify_stars(Table(items), folder, run, top=top, threshold=threshold)


def made_stars(curves: Table[LightCurve], method: AstroM3) -> tuple[Table[Star], tuple[UnreadableItem, ...]]:
    """Return the stars of the curves that can be used, of each the band with most measurements, and why others cannot.

    Raises:
        DataError: none can be used.
    """
    grid, kept, names, stars, failed = np.linspace(*method.grid), [], [], [], []
    for i in range(len(curves)):
        name = curves.items.name(i)
        try:
            stars.append(halves(_usable(one_band(curves.items[i]), name), grid))
        except UnreadableItem as error:
            failed.append(error)
            continue
        kept.append(i)
        names.append(name)
    if not stars:
        raise DataError(
            f"None of the {len(curves)} light curves can be used; the first: "
            f"{failed[0] if failed else 'there is none'}."
        )
    columns = {name: Column(c.kind, np.asarray(c.values)[kept]) for name, c in curves.columns.items()}
    return Table(Stars(tuple(names), stars), columns), tuple(failed)


def _usable(curve: LightCurve, name: str) -> LightCurve:
    if len(curve.time) < LEAST:
        raise UnreadableItem(name, f"has {len(curve.time)} measurements in one band, and {LEAST} are needed")
    if curve.time[-1] - curve.time[0] > LONGEST:
        raise UnreadableItem(name, f"spans more than {LONGEST:,.0f} days: give times in days")
    return curve


def _net(space: StarSpace, classes: int) -> LabelNet:
    encoder = space.encoders[TOWER]
    assert isinstance(encoder, StarEncoder)
    return LabelNet(encoder, classes)


def _joined(first: Any, second: Any) -> Stars:
    return first if second is None else Stars((*first.names, *second.names), [*first.stars, *second.stars])
