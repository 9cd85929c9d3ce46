"""Classify clips, point clouds, light curves or samples of a plug-in's modality, from the paths that a user names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diptych.core import Backbone, Classifier, ClassNames, Run, Samples, UsageError
from diptych.data.format import FRAMES, Request
from diptych.data.keys import FileKeys
from diptych.data.modalities import CLIPS, Modality, modality, modality_of
from diptych.tasks.classified import Classified
from diptych.tasks.classify import classify
from diptych.tasks.extend import untrained_space
from diptych.tasks.space_classifier import classify_samples, load_classifier, stated


def classify_paths(
    paths: Sequence[str],
    load: Callable[[str], Backbone],
    run: Run,
    *,
    classes: Callable[[Sequence[str]], ClassNames],
    model: Path | None = None,
    frames: int | None = None,
    method: Classifier | None = None,
    keys: FileKeys | None = None,
    top: int = 5,
    threshold: float | None = None,
) -> tuple[Samples[Any], Classified, Modality]:
    """Say what each sample is: by a fitted space, or by one that class names are enough for.

    Args:
        paths: of samples of one modality, see ``data.modalities``; folders of pictures count as clips.
        load: loads a backbone by its name; "" is the one that the user chose, or the default.
        run: device, cache.
        classes: from the class folders of the data to the names with their templates; not used with a model.
        model: folder of ``extend``; None classifies by names.
        frames: pictures of a clip; None: those of the model, or the default.
        method: classifier on the names; None is the default one.
        keys: cache of content keys.
        top: classes a sample, at least 1.
        threshold: leave out classes with a probability below it.

    Returns:
        The samples, what they are, and their modality.

    Raises:
        UsageError: the model takes other samples or other frames, was fitted round another backbone, or nothing names
            the samples without one.
        DataError: the folder is no model of samples, or no sample can be read.
    """
    kept, kind = None if model is None else stated(model), modality_of(paths[0])
    if kept is not None:
        wanted = modality(kept.samples)
        if kind is not None and kind.name != wanted.name:
            raise UsageError(f"{model} takes {wanted.title}, and {paths[0]} holds {kind.title}.")
        if frames not in (None, kept.frames):
            sees = f"looks at {kept.frames} frames a clip" if kept.frames else f"takes {wanted.title}"
            raise UsageError(f"This model {sees}: leave out the frames.")
        kind, frames = wanted, kept.frames
    kind = kind or CLIPS
    if frames and kind is not CLIPS and kept is None:
        raise UsageError(f"For {kind.title} there are no frames: leave them out.")
    data = kind.open(paths, Request(keys=keys, frames=frames or FRAMES))
    samples = data.whole().items
    if model is not None:
        backbone = load(kept.backbone) if kept is not None and kept.backbone else None
        result = classify_samples(samples, load_classifier(model, backbone), run, top=top, threshold=threshold)
        return samples, result, kind
    if not kind.named:
        raise UsageError(
            f"No backbone knows {kind.title} by the names of classes: run 'diptych extend' on some with classes, and "
            f"give its folder as the model."
        )
    space = untrained_space(kind.name, load(""), run, frames=frames)
    result = classify(samples, classes(data.classes), space, run, method=method, top=top, threshold=threshold)
    return samples, result, kind
