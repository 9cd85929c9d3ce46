"""A holistic audit: the same models along independent axes, each with what plain accuracy does not explain.

    ER_f    = (1 - acc_f) / (1 - acc)                              error ratio of the visual factor f
    r       = acc_s - g^{-1}( b0 + b1 g(acc) )                     effective robustness under the factor or shift s
    bias    = n_shape / (n_shape + n_texture)                      on pictures whose texture is of another class
    T*      = argmin_T  NLL( softmax(L / T) )                      fitted in distribution, kept under shifts
    S(x)    = max_k softmax( cos(x, k) / T )_k,  T = 1             MCM, high for items of one of the classes

acc: accuracy on the own pictures; acc_f: on the same pictures under the factor f, such as half the brightness
b0, b1: the line through the baseline models, by Theil and Sen; g: the logit
n_shape, n_texture: answers that name the class of the shape, and of the texture; all other answers are left out
L: (N, K) logits, the model's scale included; cos(x, k): without it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from diptych.core import (
    AuditData,
    Auditor,
    Backbone,
    Column,
    Control,
    DataError,
    Dense,
    Example,
    Finding,
    MissingHook,
    Probe,
    Run,
    Subject,
    Subset,
    Texts,
    UsageError,
)
from diptych.core.findings import EXAMPLES
from diptych.core.ranges import at_least, between, check
from diptych.data.cues import COLUMN as TEXTURE
from diptych.data.factors import FACTORS, WORDS, Altered
from diptych.features.embed import embed
from diptych.features.subjects import Answers, answers, class_scores, embeddings
from diptych.metrics.axes.calibration import calibrated, drawn, outlier_scores, told_apart
from diptych.metrics.axes.common import FEW, half_of, mistakes, points, too_few
from diptych.metrics.axes.factors import factor_drop, shape_bias, worst_factor
from diptych.metrics.axes.recall import both_directions, geometry
from diptych.metrics.axes.trends import effective_robustness, slopes
from diptych.metrics.calibration import fit_temperature
from diptych.metrics.closed_intervals import at_chance, newcombe, wilson
from diptych.metrics.outliers import nearest
from diptych.metrics.two_way import item_mean
from diptych.nn.dense.correspondence import chance as chance_of_places
from diptych.nn.dense.correspondence import mirrored_recall

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PLACES = 64
"""Pictures whose cells are matched."""


@dataclass(frozen=True)
class HolisticRobustness(Auditor):
    """Measure factors, shifts, shape bias, calibration, unknown things, retrieval and places, on the tables given.

    Use it to see where a model breaks although its accuracy is high, and to compare models of equal accuracy.

    Args:
        factors: visual factors that are applied to the own pictures; all of ``data.factors`` (default).
        most: own pictures that are altered, at least 20; 500 (ours).
        neighbours: k of the nearest-neighbour score, >= 1; 10 (ours).
        recall: of in-distribution items, at which false positives are counted, in (0, 1); 0.95 (the field's).
        baseline: family of the records through which the line of effective robustness goes; "supervised" (the paper's
            are classifiers trained on ImageNet).

    Raises:
        UsageError: a number is out of its range, or a factor is unknown.

    Source: Tu et al. 2024, sections 3 to 9; results of 3D corruptions and of language models are read,
    not measured.

    Example:
        A model that follows the shape on two pictures and the texture on one of four:

        >>> from diptych.metrics.axes.factors import cues
        >>> shape, texture, pictures = cues(np.array([0, 0, 1, 2]), np.zeros(4, int), np.ones(4, int))
        >>> print(f"{shape / (shape + texture):.2f} of {pictures}")
        0.67 of 4
    """

    factors: tuple[str, ...] = tuple(FACTORS)
    most: int = 500
    neighbours: int = 10
    recall: float = 0.95
    baseline: str = "supervised"

    def __post_init__(self) -> None:
        check(self, at_least(20), "most")
        check(self, at_least(1), "neighbours")
        check(self, between(0, 1, "()"), "recall")
        if unknown := [f for f in self.factors if f not in FACTORS]:
            raise UsageError(f"There is no factor {unknown[0]!r}: choose from {', '.join(FACTORS)}.")

    def lacks(self, subjects: Mapping[str, Subject], data: AuditData) -> str:
        """Return what the data lack: one table in distribution, with labels and classes, or with captions."""
        try:
            _, probe = data.one()
            if "captions" not in probe.table.columns or "label" in probe.table.columns:
                probe.table.labels()
                probe.named()
        except DataError as error:
            return str(error)
        return ""

    def audit(self, subjects: Mapping[str, Subject], data: AuditData, run: Run) -> list[Finding]:
        """Measure every axis that the tables allow.

        Args:
            subjects: name -> model with a backbone, or with a fitted classifier of these classes as "classifier". With
                three models or more, and three of the baseline family, factors and shifts are also measured against a
                line through these.
            data: one table in distribution with labels; any tables of shifts with labels (with a group column
                "texture": cue conflicts), of other things ("ood"), and of training items ("train", the bank of the
                nearest neighbours). Captions of the first table make it a table of retrieval too; with captions alone,
                retrieval and places are measured.
            run: device, cache, and the seed of halves and controls.

        Returns:
            Findings by measure: "accuracy"; "worst_factor"; "drop", and "effective_robustness", about each factor and
            shift; "shape_bias" about each cue conflict; "calibration_error" and
            "temperature_gain" about each labelled table; "auroc_mcm", "auroc_energy" and "auroc_nearest" about each
            table of other things; "recall_at_1" and "median_rank" of both directions of retrieval, "uniformity" and
            "relative_alignment"; "place_recall"; what was measured elsewhere (``Subject.measured``). Then, about groups
            of three models or more with one record, "slope" of each measure over accuracy.

        Raises:
            UsageError: there is no subject.
            MissingPart: a kit holds neither classifier nor backbone.
            DataError: there is not exactly one table in distribution, or it has neither labels nor captions.
        """
        self.check(subjects, data)
        flat = [f for name, subject in subjects.items() for f in self._of(name, subject, data, run)]
        if len(subjects) >= 3:
            accuracy = {f.subject: f.value or 0.0 for f in flat if f.measure == "accuracy"}
            lines = sum(s.record.family == self.baseline for s in subjects.values()) >= 3
            for about in (*data.of("shift"), *(self.factors if lines else ())):
                drops = [f for f in flat if f.measure == "drop" and f.about == about and f.testable]
                there = {f.subject: (float(f.details["accuracy"]), f.count or 1) for f in drops}
                flat += effective_robustness(subjects, about, accuracy, there, self.baseline)
        flat += [replace(f, subject=name) for name, subject in subjects.items() for f in subject.measured]
        return [*flat, *slopes(subjects, flat, len(data.one()[1].table))]

    def _of(self, name: str, subject: Subject, data: AuditData, run: Run) -> Iterator[Finding]:
        """Yield the findings about one model."""
        key, probe = data.one()
        if _labelled(probe):
            yield from self._of_classes(name, subject, key, probe, data, run)
        yield from _retrieval(name, subject, probe, run)
        yield _places(name, subject, probe, run)

    def _of_classes(
        self, name: str, subject: Subject, key: str, probe: Probe, data: AuditData, run: Run
    ) -> Iterator[Finding]:
        """Yield the findings that need classes."""
        near = answers(subject, probe.named(), probe.table.items, probe.table.labels(), run)
        hits, n = near.hits, len(near.labels)
        if reason := too_few(n):
            yield Finding.not_testable(name, "accuracy", reason, count=n)
            return
        right, ends = float(hits.mean()), wilson(int(hits.sum()), n)
        yield Finding(
            name, "accuracy", right, ends, range=(0.0, 1.0), count=n, harm=max(0.0, 1 - ends[1]),
            details={"classes": len(probe.named())}, examples=mistakes(key, probe.table.items, probe.named(), near),
            says=f"{100 * (1 - right):.0f} % of the pictures in {key} get a wrong class.",
            units=hits.astype(np.float64),
            advice="Try other prompts or another model, or train a head on some labelled pictures.",
        )  # fmt: skip
        low = at_chance(int(hits.sum()), n, near.chance)
        if low:
            yield Finding.not_testable(name, "worst_factor", low, count=n)
        else:
            yield from self._factors(name, subject, key, probe, near, run)
        yield from _calibration(name, subject, key, near, data, run)
        for shift, other in data.of("shift").items():
            yield _shift(name, subject, shift, other, near, low, run)
        for outside, other in data.of("ood").items():
            yield from self._unknown(name, subject, probe, near, outside, other, data, run)

    def _factors(
        self, name: str, subject: Subject, key: str, probe: Probe, base: Answers, run: Run
    ) -> Iterator[Finding]:
        order = np.random.default_rng(run.integer("factors")).permutation(len(base.labels))
        rows = np.sort(order[: self.most])
        some, plain, names = Subset(probe.table.items, tuple(rows.tolist())), base.hits[rows], probe.named().names
        hits = []
        for factor in self.factors:
            changed = answers(subject, probe.named(), Altered(some, factor), base.labels[rows], run)
            predicted, lost = changed.predicted, np.flatnonzero(plain & ~changed.hits)
            lost = lost[np.linspace(0, len(lost) - 1, min(len(lost), EXAMPLES)).astype(np.int64)]  # of several classes
            examples = tuple(
                Example(
                    key, some.key(int(i)),
                    f"{names[base.labels[rows][i]]}; {WORDS[factor]} taken for {names[predicted[i]]}",
                )
                for i in lost
            )  # fmt: skip
            hits.append(changed.hits)
            yield factor_drop(name, factor, plain, changed.hits, examples, run)
        yield worst_factor(name, self.factors, np.array(hits), run)

    def _unknown(
        self, name: str, subject: Subject, probe: Probe, base: Answers, outside: str, other: Probe, data: AuditData,
        run: Run,
    ) -> Iterator[Finding]:  # fmt: skip
        n = len(other.table)
        if reason := too_few(n):
            yield Finding.not_testable(name, "auroc_mcm", reason, about=outside, count=n)
            return
        far = class_scores(subject, probe.named(), other.table.items, run)
        inside, beyond = outlier_scores(base.scores), outlier_scores(far)
        if isinstance(subject.kit.parts.get("main"), Backbone):
            inside["nearest"], beyond["nearest"] = self._nearest(subject, probe, other, data, run)
        names, predicted = probe.named().names, far.predicted()
        examples = tuple(
            Example(outside, other.table.items.key(int(i)), f"passes for {names[int(predicted[i])]}")
            for i in np.argsort(-beyond["mcm"], kind="stable")[:EXAMPLES]
        )
        for score, values in inside.items():
            first = score == "mcm"
            yield told_apart(
                name, outside, score, values, beyond[score], self.recall, run, examples if first else (), first
            )

    def _nearest(
        self, subject: Subject, probe: Probe, other: Probe, data: AuditData, run: Run
    ) -> tuple[Floats, Floats]:
        """Return the nearest-neighbour scores of own and other items.

        Without training items, a half of the own items is the bank of the other half.
        """
        near, far = (embeddings(subject, p.table.items, run).double().numpy() for p in (probe, other))
        trained = [embeddings(subject, p.table.items, run).double().numpy() for p in data.of("train").values()]
        first = half_of(len(near), run, "bank")
        bank, near = (np.concatenate(trained), near) if trained else (near[first], near[~first])
        k = min(self.neighbours, len(bank))
        return nearest(near, bank, k), nearest(far, bank, k)


def _calibration(name: str, subject: Subject, key: str, base: Answers, data: AuditData, run: Run) -> Iterator[Finding]:
    """Yield the calibration of the half that fits no temperature, and of each shift, under one temperature."""
    if reason := too_few(len(base.labels), 2 * FEW):
        yield Finding.not_testable(name, "calibration_error", reason, about=key, count=len(base.labels))
        return
    first = half_of(len(base.labels), run, "temperature")
    lucky = drawn(base.logits, np.random.default_rng(run.integer("drawn labels")))
    t, null = (fit_temperature(base.logits[first], labels[first]) for labels in (base.labels, lucky))
    yield from calibrated(name, key, base.logits[~first], base.labels[~first], t, null, run)
    for shift, probe in data.of("shift").items():
        if _labelled(probe) and TEXTURE not in probe.table.columns and not too_few(len(probe.table)):
            a = answers(subject, probe.named(), probe.table.items, probe.table.labels(), run)
            yield from calibrated(name, shift, a.logits, a.labels, t, null, run)


def _shift(name: str, subject: Subject, shift: str, probe: Probe, base: Answers, low: str, run: Run) -> Finding:
    """Return what a shift takes: the drop of accuracy, or the bias of answers to conflicting cues."""
    n, cued = len(probe.table), TEXTURE in probe.table.columns
    measure = "shape_bias" if cued else "drop"
    reason = "" if _labelled(probe) else f"The table {shift} has no labels, so its accuracy is not known."
    if reason := reason or too_few(n) or ("" if cued else low):
        return Finding.not_testable(name, measure, reason, about=shift, count=n)
    a = answers(subject, probe.named(), probe.table.items, probe.table.labels(), run)
    if cued:
        textures = textures_of(probe, shift)
        return shape_bias(name, shift, a.predicted, a.labels, textures, len(probe.named()), run)
    half = half_of(len(base.hits), run, "own halves")
    sides = base.hits[half], base.hits[~half]
    ends, same = (newcombe(int(x.sum()), len(x), int(y.sum()), len(y)) for x, y in ((base.hits, a.hits), sides))
    drop = float(base.hits.mean() - a.hits.mean())
    return Finding(
        name, "drop", drop, ends, shift, {"accuracy": float(a.hits.mean())}, count=n, harm=max(0.0, ends[0]),
        control=Control("drop_between_own_halves", float(sides[0].mean() - sides[1].mean()), same),
        examples=mistakes(shift, probe.table.items, probe.named(), a),
        says=f"{points(drop)} on {shift}.",
        advice=f"Label some pictures like those of {shift} and train a head on both kinds.",
    )  # fmt: skip


def textures_of(probe: Probe, about: str) -> Ints:
    """Return (N,) class positions of the textures.

    Raises:
        DataError: a texture is no class.
    """
    names, column = probe.named().names, [str(t) for t in probe.table.columns[TEXTURE].values]
    if unknown := [t for t in column if t not in names]:
        raise DataError(f"The texture {unknown[0]!r} of {about} is no class: name textures as classes.")
    return np.array([names.index(t) for t in column], dtype=np.int64)


def _retrieval(name: str, subject: Subject, probe: Probe, run: Run) -> Iterator[Finding]:
    """Yield R@1 of both directions and the geometry behind it, where items have captions."""
    column = probe.table.columns.get("captions")
    if column is None or not isinstance(subject.kit.parts.get("main"), Backbone):
        return
    captions = _captions(column)
    n = len({i for _, i in captions})
    if n < len(probe.table):
        reason = f"{n} of {len(probe.table)} items have a caption: all of them must."
        yield Finding.not_testable(name, "recall_at_1", reason, count=n)
        return
    z = embeddings(subject, probe.table.items, run).double().numpy()
    texts = embed(subject.kit.need(Backbone).text, Texts(tuple(s for s, _ in captions)), run)
    u, owner = normalize(texts, dim=-1).double().numpy(), np.array([i for _, i in captions], dtype=np.int64)
    yield from both_directions(name, z, u, owner, run)
    if n > 1:
        yield from geometry(name, z, u, owner)


def _captions(column: Column) -> list[tuple[str, int]]:
    values = [(v,) if isinstance(v, str) else v for v in column.values]
    return [(str(t), i) for i, captions in enumerate(values) for t in captions if str(t)]


def _places(name: str, subject: Subject, probe: Probe, run: Run) -> Finding:
    """Return how well the cells of the last map find their place in the mirrored picture."""
    backbone, n = subject.kit.parts.get("main"), min(len(probe.table), PLACES)
    if not isinstance(backbone, Backbone) or n < 2:
        reason = too_few(n, 2) or "A fitted classifier alone has no maps."
        return Finding.not_testable(name, "place_recall", reason, count=n)
    try:
        dense = backbone.dense()
        recalls = _matched(backbone, dense, probe, n, run)
    except MissingHook as error:
        return Finding.not_testable(name, "place_recall", str(error), count=n)
    recall, other = (item_mean(v) for v in recalls[:2])
    return Finding(
        name, "place_recall", recall.value, (recall.low, recall.high), range=(0.0, 1.0), count=n,
        details={"recall_in_another_picture": other.value, "recall_by_chance": chance_of_places(*recalls[2])},
        units=recalls[0],
    )  # fmt: skip


def _matched(
    backbone: Backbone, dense: Dense, probe: Probe, n: int, run: Run
) -> tuple[Floats, Floats, tuple[int, int]]:
    """Return the recalls in the own and in another mirrored picture, (n,) each, and the size of the maps."""
    same, other, size, before = [], [], (0, 0), None
    with torch.no_grad():
        for start in range(0, n, 16):
            x = backbone.image.inputs([probe.table.items[i] for i in range(start, min(n, start + 16))])
            if not isinstance(x, torch.Tensor):
                raise MissingHook("This image encoder takes no pixels, so its pictures cannot be mirrored.")
            maps, mirrored = (dense.maps(v.to(run.device))[-1].float() for v in (x, x.flip(-1)))
            size = maps.shape[-2], maps.shape[-1]
            same.append(mirrored_recall(maps, mirrored).cpu().numpy())
            others = mirrored.roll(1, 0)
            if before is not None:  # of the last picture of the batch before
                others[0] = before
            before = mirrored[-1]
            other.append(mirrored_recall(maps, others).cpu().numpy())
    return np.concatenate(same), np.concatenate(other), size


def _labelled(probe: Probe) -> bool:
    return probe.classes is not None and "label" in probe.table.columns
