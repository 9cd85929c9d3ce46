"""Write embeddings where clip-retrieval, autofaiss and NumPy look for them.

OUT/img_emb/img_emb_0.npy           (N, D) float32 unit vectors, in the order of the metadata (text_emb/ for texts)
OUT/metadata/metadata_0.parquet     image_path, and label and split where known (caption for texts)
OUT/encode.json                     the backbone as data, what was skipped, seconds
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diptych.core.backbone import Backbone
from diptych.core.data import Samples, Texts
from diptych.core.errors import DataError, UnreadableItem, UsageError
from diptych.core.run import Run
from diptych.data.joined import Joined
from diptych.data.labelled import LabelledData
from diptych.features.embed import embed_readable
from diptych.tasks.record import now, versions, write_bytes, write_json


@dataclass(frozen=True)
class Encoded:
    """What was written.

    Args:
        out: the folder.
        items: vectors.
        dim: D.
        failed: items that could not be read.
        seconds: wall seconds of encoding.
        encoded: items that went through the tower; the others came from the cache.
    """

    out: Path
    items: int
    dim: int
    failed: tuple[UnreadableItem, ...]
    seconds: float
    encoded: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        skipped = [{"path": e.name, "reason": e.reason} for e in self.failed]
        return {
            "out": str(self.out),
            "items": self.items,
            "dim": self.dim,
            "skipped": skipped,
            "seconds": round(self.seconds, 3),
            "encoded": self.encoded,
        }


def encode(source: LabelledData | Texts, backbone: Backbone, run: Run, out: Path, *, overwrite: bool = False) -> Encoded:
    """Embed photos or texts and write the vectors.

    Args:
        source: a data set, all splits of it, or texts.
        backbone: embeds.
        run: device, precision, cache and progress.
        out: folder to write; see the module.
        overwrite: replace the files of an earlier run.

    Raises:
        UsageError: the folder holds embeddings and ``overwrite`` is False.
        DataError: nothing can be read.
    """
    kind: Literal["img", "text"] = "text" if isinstance(source, Texts) else "img"
    target = out / f"{kind}_emb" / f"{kind}_emb_0.npy"
    if target.exists() and not overwrite:
        raise UsageError(f"{out} holds embeddings: give another --out or --overwrite.")
    items, columns = (source, {"caption": list(source.values)}) if isinstance(source, Texts) else _photos(source)
    encoder = backbone.text if kind == "text" else backbone.image
    runner = run.engine.runner(encoder, run) if run.engine else None  # prepared before the clock starts
    start, before = time.perf_counter(), run.tally["encoded"]
    found = embed_readable(encoder, items, run)
    seconds = time.perf_counter() - start
    if len(found.kept) == 0:
        raise DataError(f"None of the {len(items)} items can be read; the first: {found.failed[0] if found.failed else 'there is none'}.")
    values = found.values.numpy()
    unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    array = io.BytesIO()
    np.save(array, unit.astype(np.float32))
    write_bytes(target, array.getvalue(), overwrite=True)
    write_bytes(
        out / "metadata" / "metadata_0.parquet", _parquet({n: [c[int(i)] for i in found.kept] for n, c in columns.items()}), overwrite=True
    )
    made = Encoded(out, len(unit), unit.shape[1], found.failed, seconds, run.tally["encoded"] - before)
    facts = {
        **made.as_dict(),
        "kind": "embeddings",
        "modality": "text" if kind == "text" else "image",
        "normalised": True,
        "dtype": "float32",
        "spec": backbone.spec.as_dict(),
        "fingerprint": backbone.fingerprint,
        "precision": runner.precision if runner else run.precision,
        "engine": runner.name if runner else "torch",
        "device": run.device,
        "versions": versions(),
        "date": now(),
    }
    write_json(out / "encode.json", facts, overwrite=True)
    return made


def _photos(data: LabelledData) -> tuple[Samples[Any], Mapping[str, Sequence[str]]]:
    """Bring all splits together."""
    tables = list(data.splits.items())
    joined = Joined(tuple(table.items for _, table in tables))
    columns: dict[str, list[str]] = {"image_path": [joined.name(i) for i in range(len(joined))]}
    if data.classes:
        columns["label"] = [data.classes[k] for _, t in tables for k in (t.labels() if "label" in t.columns else ())]
        columns["split"] = [split for split, t in tables for _ in range(len(t))]
    return joined, {name: values for name, values in columns.items() if len(values) == len(joined)}


def _parquet(columns: Mapping[str, Sequence[str]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), content)
    return content.getvalue()
