"""Write embeddings of regions of photos: of boxes that a prompter reads, or of their crops.

The layout is that of ``tasks.encode``, with a row a region; the metadata also hold each box, in pixels, and its phrase.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.nn.functional import normalize

from diptych.core import Backbone, DataError, Run, UsageError
from diptych.data.files import write_json, write_whole
from diptych.data.region_items import Regions, pictures_of
from diptych.features.embed import embed_readable
from diptych.tasks.encode.write import Embedded, Encoded
from diptych.tasks.regions import PART, RegionSource


def encode_regions(
    source: RegionSource, backbone: Backbone, run: Run, out: Path, *, overwrite: bool = False
) -> Encoded:
    """Embed the regions of photos and write the vectors; see the head of this file.

    Raises:
        UsageError: the folder holds embeddings and ``overwrite`` is False.
        DataError: no photo with a region can be read.
    """
    target = out / "img_emb" / "img_emb_0.npy"
    if target.exists() and not overwrite:
        raise UsageError(f"{out} holds embeddings: give another {{out}} or {{overwrite}}.")
    regions, content = embedded_regions(source, backbone, run), io.BytesIO()
    np.save(content, regions.values.astype("<f4"))
    write_whole(target, content.getvalue(), overwrite=True)
    write_whole(out / "metadata" / "metadata_0.parquet", _parquet(regions.columns), overwrite=True)
    encoded = Encoded(out, regions.items, regions.dim, regions.failed, regions.seconds, regions.encoded)
    by = {"kind": "embeddings", "modality": "image", "regions": "crops" if source.prompter is None else PART}
    facts = {"normalised": True, "dtype": "float32", "spec": asdict(backbone.spec), "fingerprint": backbone.fingerprint}
    write_json(out / "encode.json", {**encoded.as_dict(), **by, **facts}, overwrite=True)
    return encoded


def embedded_regions(source: RegionSource, backbone: Backbone, run: Run) -> Embedded:
    """Embed the regions of photos; columns are image_path, phrase and the corners x0, y0, x1, y1 in pixels.

    Raises:
        DataError: no photo with a region can be read.
    """
    start = time.perf_counter()
    embedded = embed_readable(source.space(backbone).image, source.regions, run)
    if not len(embedded.kept):
        raise DataError(f"No photo with a region can be read; the first: {embedded.failed[0]}.")
    values = normalize(embedded.values, dim=-1).numpy().astype(np.float32)
    seconds = time.perf_counter() - start
    return Embedded(
        values, _columns(source.regions, embedded.kept), pictures_of(embedded.failed), seconds, encoded=len(values)
    )


def _columns(regions: Regions, rows: NDArray[np.int64]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "image_path": [regions.images.name(regions.owner[i]) for i in rows],
        "phrase": [regions.phrases[i] for i in rows],
    }
    for k, name in enumerate(("x0", "y0", "x1", "y1")):
        columns[name] = regions.corners[rows, k].astype(float).tolist()
    return columns


def _parquet(columns: Mapping[str, Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), content)
    return content.getvalue()
