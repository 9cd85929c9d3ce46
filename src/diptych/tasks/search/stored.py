"""Vectors that were stored by an encoding, taken into an index as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych.backbones.engines.cached_backbone import CachedBackbone
from diptych.core import Backbone, Run, UnreadableItem, UsageError
from diptych.data.records.parts import RecordPart
from diptych.data.records.records import Records
from diptych.data.records.vectors import StoredVectors
from diptych.features.embed import Arrays


def refuse_others(stored: StoredVectors, backbone: Backbone | CachedBackbone, run: Run) -> None:
    """Refuse stored vectors of another index.

    Raises:
        UsageError: they are of another backbone, precision, decode or width.
    """
    encoder: Any = backbone.image
    runner = run.engine.runner(encoder, run) if run.engine else None
    settings = {"precision": runner.precision if runner else run.precision, "decode": run.decode}
    if stored.provenance and stored.provenance.get("fingerprint") != backbone.fingerprint:
        name = dict(stored.provenance.get("spec", {})).get("name")
        raise UsageError(f"{stored.source} was encoded with {name}, and this is {backbone.spec.name}: give its model.")
    for fact, value in settings.items():
        if stored.provenance.get(fact, value) != value:
            raise UsageError(
                f"{stored.source} was encoded with {fact} {stored.provenance[fact]}, not {value}: request it."
            )
    if stored.dim != backbone.image.dim:
        raise UsageError(
            f"{stored.source} holds vectors of {stored.dim} numbers, and {backbone.spec.name} makes "
            f"{backbone.image.dim}: name the backbone that made them as the model."
        )


def stored_vectors(part: RecordPart) -> Arrays | None:
    """Return the vectors of records that are stored; None where they are to be made."""
    records = part.records
    stored: object = records.images if isinstance(records, Records) else None
    if not isinstance(stored, StoredVectors) or not isinstance(records, Records):
        return None
    values = stored.take(part.what, [records.places[i] or 0 for i in part.rows])
    if values is None:
        return None
    good = np.isfinite(values).all(axis=1) & values.any(axis=1)
    bad = (part.name(int(i)) for i in np.flatnonzero(~good))
    failed = tuple(UnreadableItem(name, "its stored vector is zero or not finite") for name in bad)
    return Arrays(values[good][:, None], np.flatnonzero(good), failed)
