"""Write embeddings of regions of photos: of boxes that a prompter reads, or of their crops.

The layout is that of ``tasks.encode``, with a row a region; the metadata also hold each box, in pixels, and its phrase.
"""

from __future__ import annotations

import io
import time
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
from diptych.tasks.encode.write import Encoded
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
        raise UsageError(f"{out} holds embeddings: give another --out or --overwrite (in Python overwrite=True).")
    start = time.perf_counter()
    regions = source.regions
    found = embed_readable(source.space(backbone).image, regions, run)
    if not len(found.kept):
        raise DataError(f"No photo with a region can be read; the first: {found.failed[0]}.")
    values, content = normalize(found.values, dim=-1).numpy(), io.BytesIO()
    np.save(content, values.astype("<f4"))
    write_whole(target, content.getvalue(), overwrite=True)
    write_whole(out / "metadata" / "metadata_0.parquet", _parquet(regions, found.kept), overwrite=True)
    seconds, failed = time.perf_counter() - start, pictures_of(found.failed)
    made = Encoded(out, len(values), values.shape[1], failed, seconds, len(values))
    by = {"kind": "embeddings", "modality": "image", "regions": "crops" if source.prompter is None else PART}
    facts = {"normalised": True, "dtype": "float32", "spec": asdict(backbone.spec), "fingerprint": backbone.fingerprint}
    write_json(out / "encode.json", {**made.as_dict(), **by, **facts}, overwrite=True)
    return made


def _parquet(regions: Regions, rows: NDArray[np.int64]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        "image_path": [regions.images.name(regions.owner[i]) for i in rows],
        "phrase": [regions.phrases[i] for i in rows],
    }
    for k, name in enumerate(("x0", "y0", "x1", "y1")):
        columns[name] = regions.corners[rows, k].astype(float).tolist()
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()
