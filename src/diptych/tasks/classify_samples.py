"""Photos, boxes, clips, point clouds, light curves or samples of a plug-in's modality: opened, then classified.

One road for all of them. Opening loads no torch, so that a remembered backbone answers without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core import Run, Samples, UsageError
from diptych.data.format import FRAMES, Request
from diptych.data.modalities import CLIPS, Modality, modality, modality_of

if TYPE_CHECKING:
    from diptych.core import Backbone
    from diptych.data.keys import FileKeys
    from diptych.data.region_items import Regions
    from diptych.tasks.classified import Classified
    from diptych.tasks.space_classifier import Stated

FITTED = "fitted.json"
"""File of every folder with a fitted object; beside ``model.json`` it is an exported classifier."""


@dataclass(frozen=True)
class Source:
    """What is classified.

    Args:
        samples: N photos, boxes as crops, or samples of a modality.
        classes: names that the data bring, () for none.
        kind: modality; None: photos, or boxes of photos.
        frames: pictures of a clip; None: the default, or no clips.
        boxes: whether the samples are boxes of photos.
        truth: the class of each sample, where the data are labelled by ``classes``; else ().
    """

    samples: Samples[Any]
    classes: tuple[str, ...] = ()
    kind: Modality | None = None
    frames: int | None = None
    boxes: Regions | None = None
    truth: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What the samples are called."""
        return self.kind.title if self.kind is not None else "images" if self.boxes is None else "regions"

    def run(self, run: Run) -> Run:
        """Return the run as the samples allow it: engines and drafts are those of whole photos.

        Raises:
            UsageError: boxes of drafts are asked for, which have other sizes.
        """
        if self.boxes is not None and run.decode != "exact":
            raise UsageError("Boxes are in pixels of whole photos: leave out {draft}, or {regions}.")
        if self.kind is None:
            return run
        return replace(run, engine=None, decode=run.decode if self.kind is CLIPS else "exact")

    def placed(self, backbone: Backbone, run: Run) -> tuple[Samples[Any], Backbone]:
        """Return the samples as a space takes them, and that space, which needs no labels."""
        if self.boxes is not None:
            from diptych.tasks.regions import RegionSource, prompter_of

            prompted = RegionSource(self.boxes, prompter_of(backbone.spec.name))
            return prompted.shown, prompted.space(backbone)
        if self.kind is not None:
            from diptych.tasks.extenders import untrained_space

            return self.samples, untrained_space(self.kind.name, backbone, run, frames=self.frames)
        return self.samples, backbone


def stated_by(folder: Path) -> Stated | None:
    """Return what a folder of ``extend`` says; None for an exported classifier, and where nothing is fitted."""
    if not (folder / FITTED).is_file() or (folder / "model.json").is_file():
        return None
    from diptych.tasks.space_classifier import stated

    return stated(folder)


def open_samples(
    paths: Sequence[str], keys: FileKeys | None, *, frames: int | None = None, fitted: Stated | None = None,
    classifier: object = None,
) -> Source | None:  # fmt: skip
    """Open samples of another modality than photos; None for photos.

    Args:
        paths: of samples of one modality, see ``data.modalities``; folders of pictures count as clips where frames are
            given, or the fitted space takes clips.
        keys: cache of content keys.
        frames: pictures of a clip; None: those of the fitted space, or the default.
        fitted: what the folder of a fitted space says of it.
        classifier: that folder, or another one.

    Raises:
        UsageError: the space takes other samples or other frames, or nothing names these without one.
        DataError: no sample can be read.
    """
    kind = modality_of(paths[0])
    if fitted is not None:
        wanted = modality(fitted.samples)
        if kind is not None and kind.name != wanted.name:
            raise UsageError(f"{classifier} takes {wanted.title}, and {paths[0]} holds {kind.title}.")
        if frames not in (None, fitted.frames):
            sees = f"looks at {fitted.frames} frames per clip" if fitted.frames else f"takes {wanted.title}"
            raise UsageError(f"This model {sees}: leave out {{frames}}.")
        kind, frames = wanted, fitted.frames
    elif classifier is not None and frames is not None:
        raise UsageError("A model was fitted on photos: leave out {frames}, or {classifier}.")
    if kind is None and frames is None:
        return None
    kind = kind or CLIPS
    if frames and kind is not CLIPS and fitted is None:
        raise UsageError(f"For {kind.title} there are no frames: leave out {{frames}}.")
    data = kind.open(paths, Request(keys=keys, frames=frames or FRAMES))
    if classifier is None and not kind.named:
        raise UsageError(
            f"No backbone knows {kind.title} by the names of classes: run 'diptych extend' on some with classes, and "
            f"give its folder as the model with {{classifier}}."
        )
    classes = data.classes if kind is not CLIPS or len(data.classes) > 1 else ()
    return Source(data.whole().items, tuple(classes), kind, frames)


def open_boxes(paths: Sequence[str], table: str | os.PathLike[str], keys: FileKeys | None) -> Source:
    """Open the boxes of photos, as crops.

    Raises:
        UsageError, DataError: see ``data.formats.region_table.with_regions``.
    """
    from diptych.data.formats.region_table import with_regions
    from diptych.data.load import open_data
    from diptych.data.region_items import Regions

    data = open_data(list(paths), keys, need="photos")
    boxes = Regions.of(list(with_regions(data, table).splits.values()))
    return Source(boxes, data.classes if len(data.classes) > 1 else (), boxes=boxes)


def by_folder(
    source: Source,
    folder: Path,
    load: Callable[[str], Backbone],
    run: Callable[[], Run],
    fitted: Stated | None,
    *,
    top: int = 5,
    threshold: float | None = None,
    **promises: Any,
) -> tuple[Classified, Run]:
    """Say what each sample is, by an exported classifier or a fitted space, and return the run of it.

    Args:
        source: opened samples.
        folder: of ``board classify --export`` or ``extend``.
        load: loads the backbone that the folder names, unless the user chose another one.
        run: gives the run; called when the backbone is loaded.
        fitted: what the folder of a fitted space says.
        top: classes per sample, at least 1.
        threshold: leave out classes with a probability below it.
        promises: of an exported classifier, see ``tasks.classify_with_model.answer``.

    Raises:
        UsageError: another backbone than the one it was fitted on, or a promise that it cannot make.
        DataError: the folder holds no classifier of such samples, or no sample can be read.
    """
    if source.kind is not None:
        from diptych.tasks.space_classifier import classify_samples, load_classifier

        model = load_classifier(folder, load(fitted.backbone) if fitted is not None and fitted.backbone else None)
        by = source.run(run())
        return classify_samples(source.samples, model, by, top=top, threshold=threshold), by
    from diptych.tasks.classify_with_model import answer
    from diptych.tasks.model import load as load_predictor
    from diptych.tasks.model import read_about

    predictor = load_predictor(folder, load(str(read_about(folder)["spec"]["name"])))
    by = run()
    result = answer(source.samples, predictor, by, top=top, threshold=threshold, name=folder, **promises)
    return result, by
