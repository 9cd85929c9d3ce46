"""Classes of samples that a fitted space takes: by texts, or by a head that learnt labels. One for all modalities."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize

from diptych.backbones.names import SPACE
from diptych.core import Backbone, ClassNames, DataError, FittedClassifier, Kit, Run, Samples, Scores, Space, UsageError
from diptych.data.format import FRAMES, Request
from diptych.data.modalities import Modality, modality
from diptych.features import portable, saved_classes, spaces
from diptych.features.derived_space import ConditionedSpace, LabelledSpace
from diptych.features.embed import embed
from diptych.features.heads import logits, text_head
from diptych.features.modality_space import ModalitySpace
from diptych.tasks.classified import Classified
from diptych.tasks.classify import answered, with_store


@dataclass(frozen=True)
class SpaceClassifier(FittedClassifier):
    """A fitted space with the classes that it was fitted on; what ``extend`` writes to a folder.

    Args:
        space: that an extender fitted.
        samples: name of its modality.
        frames: pictures of a clip; 0 for other samples.
        method: slug of the extender.
        classes: K names with their prompts.
    """

    space: Space
    samples: str
    frames: int
    method: str
    classes: ClassNames

    def __str__(self) -> str:
        return "This space"  # the name of its folder where it is read from one, in errors

    @property
    def modality(self) -> Modality:
        """What the space takes."""
        return modality(self.samples)

    @property
    def stated(self) -> Stated:
        """What its folder would say."""
        return Stated(self.samples, self.frames, "")

    def named(self, classes: ClassNames) -> SpaceClassifier:
        """Return the same space with other classes.

        Raises:
            UsageError: its classes are those of the labels that it learnt.
        """
        if isinstance(self.space, LabelledSpace):
            raise UsageError(
                f"This space of {self.modality.title} knows the classes that it learnt, and no words: leave {{names}} "
                f"and {{templates}} out."
            )
        return replace(self, classes=classes)

    @property
    def backbone(self) -> Backbone:
        """The space with the modality in the place of photos."""
        return ModalitySpace(self.space, self.modality)

    def scores(self, items: Samples[Any], run: Run) -> Scores:
        """Return the (N, K) scores of N samples: of the labels' head, else of texts, conditioned where the space is."""
        backbone = self.backbone
        if isinstance(self.space, LabelledSpace):
            return Scores(self.space.class_logits(embed(backbone.image, items, run)), "logit")
        if isinstance(self.space, ConditionedSpace):
            texts = [text for row in self.classes.prompts() for text in row]
            counts = [len(row) for row in self.classes.prompts()]
            cosines = self.space.cosines(items, texts, run)
            return Scores(torch.stack([part.mean(1) for part in torch.split(cosines, counts, 1)], 1), "cosine")
        z = normalize(embed(backbone.image, items, run), dim=-1)
        return Scores(logits(backbone, z, text_head(backbone, self.classes.prompts(), run)), "logit")


class NamingSpace(ModalitySpace):
    """A fitted space in the place of a backbone, with the classes that it was fitted on.

    Args:
        classifier: the space with its classes.
        folder: where it is kept, by which an index finds it again; None: nowhere yet.
    """

    def __init__(self, classifier: SpaceClassifier, folder: Path | None = None) -> None:
        name = "" if folder is None else f"{SPACE}{os.path.abspath(folder)}"
        super().__init__(classifier.space, classifier.modality, name)
        self.classifier, self.folder = classifier, folder

    def opened(self, path: str | os.PathLike[str]) -> Samples[Any]:
        """Return the samples of a path."""
        request = Request(frames=self.classifier.frames or FRAMES)
        return self.modality.open([os.fspath(path)], request).whole().items


@dataclass(frozen=True)
class Stated:
    """What a folder with a fitted space says of it, without loading it.

    Args:
        samples: name of the modality.
        frames: pictures of a clip; 0 for other samples.
        backbone: name of the one round which it was fitted; "": there is none.
    """

    samples: str
    frames: int
    backbone: str


def stated(folder: Path) -> Stated | None:
    """Return what a folder of ``extend`` says; None where it holds something else.

    Raises:
        UsageError: an earlier version wrote it.
    """
    facts = spaces.stated(folder)
    try:
        fitted: Mapping[str, Any] = facts["fitted"]
        kind = fitted["class"]
        if isinstance(kind, str) and kind in saved_classes.RETIRED:
            raise UsageError(
                f"{folder} was written by an earlier version, and is no longer read: {saved_classes.RETIRED[kind]}."
            )
        if kind != SpaceClassifier.__name__:
            return None
        names = spaces.backbones_of(facts)
        return Stated(str(fitted["fields"]["samples"]), int(fitted["fields"]["frames"]), names[0] if names else "")
    except (KeyError, TypeError, ValueError):
        return None


def facts_of(folder: Path) -> Stated:
    """Return what the folder of a fitted space says.

    Raises:
        UsageError: there is no such folder, or an earlier version wrote it.
        DataError: it holds something else.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder} of a fitted space: name one that 'diptych extend' wrote.")
    facts = stated(folder)
    if facts is None:
        raise DataError(f"{folder} holds no fitted space: give a folder that 'diptych extend' wrote.")
    return facts


def open_space(folder: Path, load: Callable[[str], Backbone]) -> NamingSpace:
    """Open a fitted space in the place of a backbone; its name is ``SPACE`` and the absolute path.

    Args:
        folder: of ``extend``.
        load: loads the backbone round which the space was fitted, by its name.

    Raises:
        UsageError, DataError: see ``facts_of`` and ``load_classifier``.
    """
    facts = facts_of(folder)
    return NamingSpace(load_classifier(folder, load(facts.backbone) if facts.backbone else None), folder)


def load_classifier(folder: Path, backbone: Backbone | None = None, *, device: str = "cpu") -> SpaceClassifier:
    """Read the classifier of a folder of ``extend``, which is treated as untrusted.

    Args:
        folder: of ``extend``.
        backbone: round which it was fitted; None loads it by its name, where there is one.
        device: of a backbone that is loaded by its name.

    Raises:
        UsageError: it was fitted round another backbone, or by an earlier version.
        DataError: the folder holds something else, or is damaged.
        NotAvailable: the backbone is not on this machine.
    """
    kit = spaces.kit_of(folder, device) if backbone is None else Kit({"main": backbone})
    held = portable.load(folder, kit)
    if not isinstance(held, SpaceClassifier):
        raise DataError(
            f"{folder} holds a {type(held).__name__} and no space: give a folder that 'diptych extend' wrote."
        )
    return held


def classify_samples(
    samples: Samples[Any], model: SpaceClassifier, run: Run, *, top: int = 5, threshold: float | None = None
) -> Classified:
    """Say of which class each sample is.

    Args:
        samples: N samples of the model's modality.
        model: what ``extend`` gives, or ``load_classifier``.
        run: device, batch, cache.
        top: classes per sample, at least 1.
        threshold: leave out classes with a probability below it.

    Raises:
        UsageError: ``top`` below 1, or a threshold outside [0, 1].
        DataError: no sample can be read.
    """
    start = time.perf_counter()
    with with_store(run) as stored:
        return answered(
            model, samples, model.backbone, stored, method=model.method, top=top, threshold=threshold,
            what=model.modality.title, start=start,
        )  # fmt: skip
