"""Write embeddings of regions of photos: of boxes that a prompter is told, or of their crops.

The layout is that of ``tasks.encode``, with a row a region; the metadata also hold each box, in pixels, and its phrase.
"""

from __future__ import annotations

import io
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from diptych.backbones.names import parse
from diptych.backbones.sources.save import load_parts
from diptych.core.backbone import Backbone
from diptych.core.data import Table
from diptych.core.errors import DataError, UnreadableItem, UsageError
from diptych.core.run import Run
from diptych.data.files import write_json, write_whole
from diptych.data.formats.regions import framed
from diptych.data.labelled import LabelledData
from diptych.features.whole_and_cells import whole_and_cells
from diptych.nn.dense.prompter import Prompter
from diptych.tasks.encode import Encoded

PART = "prompter"
"""Part of a trained model that reads boxes, see ``nn.dense.prompter``."""


def prompter_of(name: str) -> Prompter | None:
    """Return the prompter of a trained model by its name, "local:FOLDER"; None where it has none.

    Raises:
        DataError: the folder holds a part of this name that is no prompter.
    """
    try:
        path = parse(name).path
    except UsageError:
        return None
    tensors = load_parts(path).get(PART) if path is not None else None
    return None if tensors is None else Prompter.of(tensors)


@torch.no_grad()
def region_vectors(
    backbone: Backbone, image: Any, corners: NDArray[Any], prompter: Prompter | None
) -> NDArray[np.float32]:
    """Return the (n, D) unit vectors of n boxes of a picture.

    Args:
        backbone: sees the picture, or each crop.
        image: a PIL image.
        corners: (n, 4) x0 y0 x1 y1 in pixels.
        prompter: of the backbone; None: boxes are cut out, at least one pixel each.
    """
    if prompter is None:
        low, high = np.floor(corners[:, :2]).clip(0), np.ceil(corners[:, 2:])
        crops = [
            image.crop((*a.astype(int).tolist(), *np.maximum(a + 1, b).astype(int).tolist()))
            for a, b in zip(low, high, strict=True)
        ]
        z = backbone.image.encode(backbone.image.inputs(crops))
    else:
        boxes = torch.from_numpy(framed(corners, image.size, backbone.spec.pixels)[0]).float()
        _, cells = whole_and_cells(backbone, backbone.image.inputs([image]))
        z = prompter.boxes(cells, boxes.to(cells), torch.zeros(len(boxes), dtype=torch.long))
    return normalize(z, dim=-1).float().cpu().numpy()


def encode_regions(
    data: LabelledData,
    backbone: Backbone,
    run: Run,
    out: Path,
    *,
    prompter: Prompter | None = None,
    overwrite: bool = False,
) -> Encoded:
    """Embed the regions of photos and write the vectors; see the head of this file.

    Args:
        data: photos with the columns "boxes" and "phrases", all splits of it.
        backbone: embeds.
        run: device and progress.
        out: folder to write.
        prompter: see ``region_vectors``.
        overwrite: replace the files of an earlier run.

    Raises:
        UsageError: the folder holds embeddings and ``overwrite`` is False.
        DataError: no photo with a region can be read.
    """
    target = out / "img_emb" / "img_emb_0.npy"
    if target.exists() and not overwrite:
        raise UsageError(f"{out} holds embeddings: give another --out or --overwrite.")
    start, failed = time.perf_counter(), list[UnreadableItem]()
    vectors: list[NDArray[np.float32]] = []
    columns: dict[str, list[Any]] = {name: [] for name in ("image_path", "phrase", "x0", "y0", "x1", "y1")}
    with run.track("encode regions", sum(map(len, data.splits.values()))) as bar:
        for table in data.splits.values():
            for i in range(len(table)):
                try:
                    _add(table, i, backbone, prompter, vectors, columns)
                except UnreadableItem as error:
                    failed.append(error)
                bar.advance()
    if not vectors:
        raise DataError(f"No photo of {data.name} with a region can be read: check the boxes.")
    values, content = np.concatenate(vectors), io.BytesIO()
    np.save(content, values.astype("<f4"))
    write_whole(target, content.getvalue(), overwrite=True)
    write_whole(out / "metadata" / "metadata_0.parquet", _parquet(columns), overwrite=True)
    seconds = time.perf_counter() - start
    made = Encoded(out, len(values), values.shape[1], tuple(failed), seconds, len(values))
    by = {"kind": "embeddings", "modality": "image", "regions": "crops" if prompter is None else PART}
    facts = {"normalised": True, "dtype": "float32", "spec": asdict(backbone.spec), "fingerprint": backbone.fingerprint}
    write_json(out / "encode.json", {**made.as_dict(), **by, **facts}, overwrite=True)
    return made


def _add(
    table: Table[Any],
    i: int,
    backbone: Backbone,
    prompter: Prompter | None,
    vectors: list[NDArray[np.float32]],
    columns: dict[str, list[Any]],
) -> None:
    """Add the regions of one photo."""
    corners = table.columns["boxes"].values[i].corners
    if not len(corners):
        return
    vectors.append(region_vectors(backbone, table.items[i].convert("RGB"), corners, prompter))
    columns["image_path"] += [table.items.name(i)] * len(corners)
    columns["phrase"] += list(table.columns["phrases"].values[i])
    for k, name in enumerate(("x0", "y0", "x1", "y1")):
        columns[name] += corners[:, k].tolist()


def _parquet(columns: dict[str, list[Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()
