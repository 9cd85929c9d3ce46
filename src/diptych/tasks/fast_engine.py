"""Zero-shot answers from a remembered backbone, an exported image encoder and cached class heads: no torch, no weights,
under a second.

The vectors, heads and places in the store are those of ``tasks.classify`` with the same options; probabilities may
differ in the last bit.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.engines.cached_backbone import CachedBackbone
from diptych.backbones.engines.engine import Engines
from diptych.backbones.lite_sharpness import scales
from diptych.core import ClassNames, Run, Samples
from diptych.data.samples import need_photos
from diptych.features.embed import embed_arrays
from diptych.features.head_cache import read_head
from diptych.features.unit_rows import unit_rows
from diptych.tasks.classified import Classified, probabilities, ranked


def _head(backbone: CachedBackbone, classes: ClassNames, run: Run) -> NDArray[np.float32] | None:
    """Return the cached (K, D) class head of a recalled backbone; None where only torch can make what is missing."""
    if not isinstance(run.engine, Engines) or run.cache is None or not run.cache.is_dir():
        return None
    if not run.engine.decided(backbone.text, run) or not run.engine.torchless(backbone.image, run):
        return None
    return read_head(backbone.text, classes.prompts(), run)


def answer(
    photos: Samples[Any],
    classes: ClassNames,
    backbone: CachedBackbone,
    run: Run,
    *,
    top: int = 5,
    threshold: float | None = None,
) -> Classified | None:
    """Say what is on each photo, as ``tasks.classify.classify`` with the zero-shot system does.

    Args:
        photos: N images, at least one.
        classes: K names and their templates.
        backbone: as recalled.
        run: with a cache folder and engines.
        top: classes per photo.
        threshold: leave out classes with a probability below it.

    Returns:
        The predictions; None where something is missing that only torch can make.

    Raises:
        DataError: there is no photo, or none can be read.
    """
    head = _head(backbone, classes, run)
    if head is None:
        return None
    need_photos(photos)
    before, start = run.tally["encoded"], time.perf_counter()
    embedded = embed_arrays(backbone.image, photos, run).some("photos")
    seconds = {"encode": time.perf_counter() - start, "fit": 0.0}
    start = time.perf_counter()
    unit = unit_rows(embedded.values[:, 0])
    cosines = unit @ head.T
    values = np.float32(backbone.scale) * cosines + np.float32(backbone.bias)
    sharpness = scales(unit, cosines.max(axis=1), backbone.image.fingerprint)
    shown = probabilities(
        values, backbone.spec.score, None if sharpness is None else sharpness / np.float32(backbone.scale)
    )
    order = np.argsort(-values, axis=1, kind="stable")[:, :top]
    predictions = ranked(embedded.of(photos), classes.names, shown, order, threshold)
    seconds["predict"] = time.perf_counter() - start
    encoded = run.tally["encoded"] - before
    spec = backbone.spec
    return Classified(
        predictions, embedded.failed, classes, spec.name, "zero-shot", spec.score, threshold, seconds, encoded,
        table=shown, languages=spec.languages,
    )  # fmt: skip
