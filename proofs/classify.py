"""Proofs of classifiers: gains over a baseline on labelled photos, and the same system with one thing spoiled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diptych.backbones.sources.load import load
from diptych.core import (
    Backbone,
    Classifier,
    ClassNames,
    Column,
    DataError,
    Evidence,
    Kit,
    MissingEvidence,
    Run,
    Samples,
    Table,
    Text,
    TextPool,
    UsageError,
)
from diptych.data.captions import captions
from diptych.data.load import open_data
from diptych.data.words.contexts import Contexts, read_contexts
from diptych.data.words.pools import VERSUS
from diptych.evaluation.arms import CHANCE, Arm
from diptych.evaluation.spoils import Altered, as_subclass, shuffled_names
from diptych.methods.classify.nola import NoLA
from proofs.benches import concept_names, new_classes, photo_contexts, transductive
from proofs.benches.classifiers import ClassifyBench
from proofs.text_spoils import swapped_texts
from proofs.trial import Claim, Trial


def open_bench(
    name: str,
    backbone: Backbone,
    run: Run,
    seeds: tuple[int, ...],
    *,
    times_chance: float = 0.0,
    teacher: str = "",
) -> ClassifyBench:
    """Open a labelled set by path or by name; all of val is for choices.

    Args:
        name: of the data set.
        backbone: for all arms.
        run: device, cache and progress.
        seeds: of draws, spoils and systems.
        times_chance: a set on which zero-shot is below so many times chance proves nothing.
        teacher: backbone whose image encoder is the part "teacher"; "": there is none.

    Raises:
        DataError: zero-shot knows too little, or nothing can be measured.
    """
    parts = {"teacher": load(teacher).image} if teacher else {}
    bench = ClassifyBench.open(open_data(name, need="classes"), backbone, run, seeds, parts=parts)
    least = times_chance / len(bench.desk.classes)
    known = float(bench.measure(Arm("zero-shot", "ensemble")).values.mean()) if times_chance else 1.0
    if known < least:
        raise DataError(
            f"Zero-shot is right on {100 * known:.1f} % of {bench.desk.data.name}, less than {times_chance:g} times "
            f"chance, so nothing can be learnt from its answers: name other sets with --data, or a stronger --backbone."
        )
    return bench


def shuffled_labels(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Permute the labels of train among its items; val keeps its own, so that choices can only help the control."""
    if evidence.train is None:
        raise UsageError("There are no train labels to shuffle: this control needs shots.")
    labels = np.random.default_rng(run.integer("shuffled labels")).permutation(evidence.train.labels())
    train: Table[Any] = Table(evidence.train.items, {**evidence.train.columns, "label": Column("label", labels)})
    return classes, replace(evidence, train=train)


def all_labels_shuffled(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Permute the labels of train and, apart from them, those of val, so that no choice sees a true label either.

    By symmetry a system that reads nothing but labelled images then hits as often as chance does, on average over
    permutations. With the true labels of val it need not: the best of several fits to shuffled labels on true labels is
    a lucky one, and luck on val is luck on test.
    """
    classes, evidence = shuffled_labels(classes, evidence, run)
    if evidence.val is None:
        return classes, evidence
    labels = np.random.default_rng(run.integer("shuffled labels of val")).permutation(evidence.val.labels())
    val: Table[Any] = Table(evidence.val.items, {**evidence.val.columns, "label": Column("label", labels)})
    return classes, replace(evidence, val=val)


def swapped_lists(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Give every class the whole list of another one, along one random cycle."""
    names, _ = shuffled_names(classes, evidence, run)
    held = _texts(evidence)
    lists = {name: held[other] for name, other in zip(classes, names, strict=True)}
    return classes, replace(evidence, texts=TextPool({**held, **lists}))


def swapped_sides(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Give both classes of every pair the texts of the other side."""
    sides = {
        VERSUS.join(reversed(key.split(VERSUS))): texts for key, texts in _texts(evidence).items() if VERSUS in key
    }
    return classes, replace(evidence, texts=TextPool({**_texts(evidence), **sides}))


def swapped_descriptions(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Exchange what is said of the two classes of every pair, and leave their names where they are."""
    return classes, replace(evidence, texts=swapped_texts(classes, TextPool(_texts(evidence)), run))


def other_rivals(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Replace the texts of every pair by as many of the same class that were written for its other rivals."""
    rng = np.random.default_rng(run.integer("other rivals"))
    held = _texts(evidence)
    drawn = {}
    for key, texts in held.items():
        slug = key.split(VERSUS)[0]
        others = [t for k, ts in held.items() if k != key and k.startswith(slug + VERSUS) for t in ts if t not in texts]
        if VERSUS in key and others:
            drawn[key] = tuple(others[i] for i in rng.permutation(len(others))[: len(texts)])
    return classes, replace(evidence, texts=TextPool({**held, **drawn}))


def random_words(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    """Replace every description by as many words, drawn from all descriptions of the pool."""
    rng = np.random.default_rng(run.integer("random words"))
    held = {key: texts for key, texts in _texts(evidence).items() if VERSUS not in key}
    words = sorted({word for texts in held.values() for text in texts for word in text.value.split()})

    def drawn(text: Text) -> Text:
        return Text(" ".join(words[i] for i in rng.integers(len(words), size=len(text.value.split()))))

    return classes, replace(evidence, texts=TextPool({key: tuple(map(drawn, texts)) for key, texts in held.items()}))


def _random_letters(system: Any, run: Run) -> Classifier:
    rng = np.random.default_rng(run.integer("random letters"))
    table = read_contexts(system.contexts) if isinstance(system.contexts, str) else system.contexts

    def drawn(text: str) -> str:
        return "".join(chr(ord("a") + int(rng.integers(26))) if c.isalpha() else c for c in text)

    factors = {f: {v: tuple(map(drawn, texts)) for v, texts in values.items()} for f, values in table.factors.items()}
    drawn_system: Classifier = replace(system, contexts=Contexts("random letters", factors))
    return drawn_system


RANDOM_LETTERS = Altered(_random_letters)
"""Every letter of a context's phrasings is drawn anew; lengths, spaces and unspoken phrasings stay."""
LEAST_SIMILAR = Altered(lambda system, run: replace(system, pick="least"))
"""The box of the patches that resemble the image least."""
UNTRAINED = Altered(lambda system, run: replace(system, epochs=0))
"""No epoch is trained."""
NO_STEPS = Altered(lambda system, run: replace(system, steps=0), draws=False)
"""The start alone: sums of shots and scaled texts."""

FAST = Altered(lambda system, run: replace(system, rate=1e-2), draws=False)
"""Ten times the default rate, the largest that the authors try without val."""
FAST_AND_FREE = Altered(lambda system, run: replace(system, rate=1e-2, penalty=0.0), draws=False)
"""That rate, and no penalty on the distance from the pretrained matrix."""


def _other_captions(classes: ClassNames, evidence: Evidence[Any], run: Run) -> tuple[ClassNames, Evidence[Any]]:
    if evidence.train is None:
        raise UsageError("There are no captions to swap: this control needs shots.")
    train, labels = evidence.train, evidence.train.labels()
    sentences = [f"A photo of {classes.names[k]}. {text}" for k, text in zip(labels, captions(train), strict=True)]
    order = np.random.default_rng(run.integer("other captions")).permutation(len(classes))
    other = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    rows = [np.flatnonzero(labels == k) for k in range(len(classes))]
    place = {int(i): n for rows_of in rows for n, i in enumerate(rows_of)}
    moved = tuple((sentences[rows[other[int(k)]][place[i] % len(rows[other[int(k)]])]],) for i, k in enumerate(labels))
    return classes, replace(
        evidence, train=Table(train.items, {**train.columns, "captions": Column("captions", moved)})
    )


OTHER_CAPTIONS = Altered(lambda system, run: replace(system, prefix=""), _other_captions)
"""Every support image has the whole caption, class name included, of an image of another class."""


@dataclass(frozen=True)
class _ShuffledPixels:
    """Pictures whose pixels change places: colours stay, and nothing is to be seen."""

    images: Samples[Any]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> Image.Image:
        pixels = np.asarray(self.images[index].convert("RGB"))
        seed = int(self.images.key(index)[:16], 16)
        order = np.random.default_rng(seed).permutation(pixels.shape[0] * pixels.shape[1])
        return Image.fromarray(np.ascontiguousarray(pixels.reshape(-1, 3)[order].reshape(pixels.shape)))

    def key(self, index: int, /) -> str:
        return hashlib.sha256(f"shuffled/{self.images.key(index)}".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        return self.images.name(index)


def shots_of_shuffled_pixels(
    classes: ClassNames, evidence: Evidence[Any], run: Run
) -> tuple[ClassNames, Evidence[Any]]:
    """Shuffle the pixels of every shot, each in one way for all seeds."""
    if evidence.train is None:
        raise UsageError("There are no shots to spoil: this control needs some.")
    return classes, replace(evidence, train=Table(_ShuffledPixels(evidence.train.items), evidence.train.columns))


@dataclass(frozen=True)
class PermutedLabels(NoLA):
    """Learns from its own labels, given to other images: as many of each class."""

    def _labels(self, kit: Kit, backbone: Backbone, images: Samples[Any], head: Tensor, run: Run) -> Tensor:
        labels = super()._labels(kit, backbone, images, head, run)
        return labels[torch.randperm(len(labels), generator=run.generator("permuted labels"))]


@dataclass(frozen=True)
class OwnFeatures(NoLA):
    """Has no second encoder."""

    def _labels(self, kit: Kit, backbone: Backbone, images: Samples[Any], head: Tensor, run: Run) -> Tensor:
        return super()._labels(Kit({"main": backbone}), backbone, images, head, run)


def _texts(evidence: Evidence[Any]) -> Mapping[str, tuple[Text, ...]]:
    if evidence.texts is None:
        raise MissingEvidence("There are no texts to spoil: this proof needs a pool of descriptions for its data set.")
    return evidence.texts.texts


EVEN = "even-prior"
"""What labels that are shuffled but still balanced teach. Where the control must not gain over it, the claim must."""

TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        EVEN: Trial((Claim("zero-shot", 16),), shots_of_shuffled_pixels, "zero-shot"),
        "zero-shot": Trial((Claim(CHANCE, 0),), shuffled_names, CHANCE, variant="ensemble"),
        "linear-probe": Trial(
            (Claim("zero-shot", 16),),
            all_labels_shuffled,
            CHANCE,
            controls=(Claim("zero-shot", 16, arm=Arm("linear-probe", "", 16, all_labels_shuffled)),),
            beside={"labels of train alone shuffled": shuffled_labels},
        ),
        "tip-adapter": Trial(tuple(Claim("zero-shot", s) for s in (1, 4, 16)), shuffled_labels, "zero-shot"),
        "tip-adapter-f": Trial(
            (Claim("tip-adapter", 16), Claim(EVEN, 16)),
            shuffled_labels,
            EVEN,
            beside={"labels of val shuffled too": all_labels_shuffled},
        ),
        "coop": Trial((Claim("zero-shot", 16), Claim(EVEN, 16)), shuffled_labels, EVEN),
        "coop:cocoop": new_classes.trial(shuffled_labels),
        "gda": Trial(
            (Claim("tip-adapter", 16), Claim("zero-shot", 4), Claim("zero-shot", 16), Claim(EVEN, 4), Claim(EVEN, 16)),
            shuffled_labels,
            EVEN,
        ),
        "lp-plus-plus": Trial(
            (
                Claim("linear-probe", 4),
                Claim(EVEN, 4),
                Claim(EVEN, 16),
                *(Claim("its start", s, base=Arm("lp-plus-plus", "", s, NO_STEPS)) for s in (4, 16)),
            ),
            shuffled_labels,
            EVEN,
            beside={"without val": Arm("lp-plus-plus", "no val")},
        ),
        "clap": Trial(
            (Claim(EVEN, 4), Claim(EVEN, 16), Claim("clap", 4, "ZS-LP")),
            shuffled_labels,
            EVEN,
            beside={"zero-shot": Claim("zero-shot", 4)},
        ),
        "prolip": Trial(
            (
                Claim(EVEN, 4),
                Claim(EVEN, 16),
                Claim("no penalty", 4, arm=Arm("prolip", "", 4, FAST), base=Arm("prolip", "", 4, FAST_AND_FREE)),
            ),
            shuffled_labels,
            EVEN,
            beside={"zero-shot": Claim("zero-shot", 4), "clap": Claim("clap", 4)},
        ),
        "description": Trial(
            (Claim("zero-shot", 0, "single"),),
            swapped_lists,
            "zero-shot",
            variant="a photo of a",
            control_variant="single",
            beside={"random words": random_words},
        ),
        "fudd": Trial(
            (Claim("zero-shot", 0, "single"),),
            swapped_descriptions,
            "zero-shot",
            variant="top 3",
            control_variant="single",
            beside={"whole texts of the other side": swapped_sides, "texts for other rivals": other_rivals},
        ),
        "discriminative-descriptions": Trial(
            (Claim("zero-shot", 16, "single"), Claim(EVEN, 16)),
            shuffled_labels,
            EVEN,
            beside={"random words": random_words},
        ),
        "perceptionclip": photo_contexts.trial(RANDOM_LETTERS),
        "caps-adapter": Trial(
            (Claim("caps-adapter", 16, "TIP-X"), Claim("zero-shot", 16)),
            OTHER_CAPTIONS,
            "caps-adapter",
            control_variant="TIP-X",
            beside={"shuffled labels": shuffled_labels},
        ),
        "nola": Trial(
            (Claim("zero-shot", 0), Claim("nola", 0, "texts alone"), Claim(EVEN, 8, arm=Arm("nola", "head"))),
            as_subclass(PermutedLabels),
            "nola",
            variant="head",
            control_variant="texts alone",
            beside={"labels by the backbone's own features": as_subclass(OwnFeatures)},
            bench=partial(open_bench, times_chance=3.0, teacher="tiny"),
        ),
        "glsim": Trial(
            (
                Claim("linear-probe", 16),
                Claim("the box of the least similar patches", 16, base=Arm("glsim", "frozen", 16, LEAST_SIMILAR)),
            ),
            LEAST_SIMILAR,
            "linear-probe",
            variant="frozen",
        ),
        "mocoop": Trial((Claim("zero-shot", 16), Claim(EVEN, 16)), shuffled_labels, EVEN, variant="frozen image"),
        "dn-cbm": Trial(
            (Claim("zero-shot", 16), Claim(EVEN, 16)),
            shuffled_labels,
            EVEN,
            variant="small",
            beside={"untrained dictionary": UNTRAINED},
        ),
        "dn-cbm:small": concept_names.TRIAL,
        "transclip": transductive.trial(EVEN),
    }
)
