"""Write embeddings where clip-retrieval, autofaiss and NumPy look for them.

OUT/img_emb/img_emb_0.npy           (N, D) float32 unit vectors, in the order of the metadata (text_emb/ for texts)
OUT/metadata/metadata_0.parquet     image_path, and label and split where known (caption for texts)
OUT/encode.json                     the backbone as data, what was skipped, seconds
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from diptych.backbones.engines.cached_backbone import CachedBackbone
from diptych.core import Backbone, DataError, Encoder, Run, Samples, Texts, UnreadableItem, UsageError
from diptych.core.wording import none_readable, number_of
from diptych.data.addresses import origin
from diptych.data.files import drafted, escaped, named, write_json
from diptych.data.formats.embeddings import read_clip_retrieval, write_embedding_parquet
from diptych.data.joined import Joined
from diptych.data.labelled import LabelledData
from diptych.features.batch_size import calibrate
from diptych.features.embed import embed_slices
from diptych.features.unit_rows import unit_rows
from diptych.store.layers import open_vectors
from diptych.tasks.encode.cluster import BATCH, Crew, fill
from diptych.tasks.record import now, versions

_ROWS = 65_536
"""Rows of a row group of the metadata."""


@dataclass(frozen=True)
class Encoded:
    """What was written.

    Args:
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
        skipped = [e.as_dict() for e in self.failed]
        return {
            "out": named(self.out), "items": self.items, "dim": self.dim, "skipped": skipped,
            "seconds": round(self.seconds, 3), "encoded": self.encoded,
        }  # fmt: skip


@dataclass(frozen=True)
class Embedded:
    """Embeddings in memory.

    Args:
        values: (N, D) float32 unit vectors.
        columns: name -> N cells, the first of which names the items; the metadata that ``encode`` writes.
        failed: items that could not be read.
        seconds: wall seconds of encoding.
        encoded: items that went through the tower; the others came from the cache.
    """

    values: NDArray[np.float32]
    columns: Mapping[str, Sequence[str]]
    failed: tuple[UnreadableItem, ...]
    seconds: float
    encoded: int

    @property
    def items(self) -> int:
        """Number N of vectors."""
        return len(self.values)

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return int(self.values.shape[1])

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; the vectors are not among it."""
        facts = {"out": None, "items": self.items, "dim": self.dim, "skipped": [e.as_dict() for e in self.failed]}
        return {**facts, "seconds": round(self.seconds, 3), "encoded": self.encoded}


def embedded(source: LabelledData | Texts, backbone: Backbone | CachedBackbone, run: Run) -> Embedded:
    """Embed photos or texts, as ``encode`` does, and write nothing.

    Raises:
        DataError: nothing can be read.
    """
    texts = isinstance(source, Texts)
    items, columns = (source, {"caption": source.name}) if isinstance(source, Texts) else _photos(source)
    encoder: Encoder[Any] = backbone.text if texts else backbone.image
    if run.engine:
        run.engine.runner(encoder, run)  # prepared before the clock starts
    start, before = time.perf_counter(), run.tally["encoded"]
    run = calibrate(encoder, items, run)
    parts, failed = list[NDArray[np.float32]](), list[UnreadableItem]()
    cells: dict[str, list[str]] = {name: [] for name in columns}
    for part in embed_slices(encoder, items, run, vectors=open_vectors(run)):
        parts.append(unit_rows(part.values[:, 0]).astype(np.float32))
        for name, cell in columns.items():
            cells[name] += [cell(i) for i in part.kept.tolist()]
        failed += [UnreadableItem(origin(e.name), e.reason) for e in part.failed]
    if not any(map(len, parts)):
        raise DataError(none_readable(len(items), "items", failed))
    seconds = time.perf_counter() - start
    return Embedded(np.concatenate(parts), cells, tuple(failed), seconds, run.tally["encoded"] - before)


def read_embedded(out: Path, encoded: Encoded) -> Embedded:
    """Return the vectors of a folder that ``encode`` has just written; they stay in the file until they are used."""
    import pyarrow.parquet as pq

    kind = "img" if (out / "img_emb").is_dir() else "text"
    values = np.load(out / f"{kind}_emb" / f"{kind}_emb_0.npy", mmap_mode="r")
    columns = pq.read_table(out / "metadata" / "metadata_0.parquet").to_pydict()
    return Embedded(values, columns, encoded.failed, encoded.seconds, encoded.encoded)


def encode(
    source: LabelledData | Texts,
    backbone: Backbone | CachedBackbone,
    run: Run,
    out: Path,
    *,
    overwrite: bool = False,
    crew: Crew | None = None,
) -> Encoded:
    """Embed photos or texts and write the vectors.

    Args:
        source: a data set, all splits of it, or texts.
        backbone: embeds; a remembered one, where it encodes these without torch.
        run: device, precision, cache and progress.
        out: folder to write; see the module.
        overwrite: replace the files of an earlier run.
        crew: workers that encode; None: this process does. The vectors are the same bits where the batch size is the
            same.

    Raises:
        UsageError: the folder holds embeddings and ``overwrite`` is False; and what ``encode_cluster.fill`` raises.
        DataError: nothing can be read.
        KeyboardInterrupt: Ctrl-C; it says how many vectors are stored, and how to go on.
    """
    kind: Literal["img", "text"] = "text" if isinstance(source, Texts) else "img"
    target = out / f"{kind}_emb" / f"{kind}_emb_0.npy"
    if target.exists() and not overwrite:
        raise UsageError(f"{out} holds embeddings: give another {{out}} or {{overwrite}}.")
    items, columns = (source, {"caption": source.name}) if isinstance(source, Texts) else _photos(source)
    encoder: Encoder[Any] = backbone.text if kind == "text" else backbone.image
    runner = run.engine.runner(encoder, run) if run.engine else None  # prepared before the clock starts
    start, before, count = time.perf_counter(), run.tally["encoded"], 0
    failed: list[UnreadableItem] = []
    with (
        _interruptible(run),
        _rows_of(target, encoder.dim) as file,
        _table_of(out / "metadata" / "metadata_0.parquet", tuple(columns)) as table,
    ):
        if crew is None:
            run, vectors, spans = calibrate(encoder, items, run), open_vectors(run), None
        else:
            run = replace(run, batch=run.batch or BATCH, workers=run.workers or crew.threads)
            vectors = open_vectors(run)
            spans = fill(crew, encoder, items, run, runner, vectors)
        for part in embed_slices(encoder, items, run, spans=spans, vectors=vectors):
            file.write(unit_rows(part.values[:, 0]).astype("<f4").tobytes())
            table({name: [escaped(cell(i)) for i in part.kept.tolist()] for name, cell in columns.items()})
            count += len(part.kept)
            failed += [UnreadableItem(origin(e.name), e.reason) for e in part.failed]
        if not count:
            raise DataError(none_readable(len(items), "items", failed))
        (out / "encode.json").unlink(missing_ok=True)  # written last: while it is absent, the other files may not match
    seconds = time.perf_counter() - start
    encoded = Encoded(out, count, encoder.dim, tuple(failed), seconds, run.tally["encoded"] - before)
    facts = {
        **encoded.as_dict(),
        "kind": "embeddings",
        "modality": "text" if kind == "text" else "image",
        "normalised": True,
        "dtype": "float32",
        "spec": backbone.spec.as_dict(),
        "fingerprint": backbone.fingerprint,
        "precision": runner.precision if runner else run.precision,
        "engine": runner.name if runner else "torch",
        "decode": run.decode if kind == "img" else "exact",
        "device": run.device,
        "batch": run.batch,
        "workers": run.workers,
        "versions": versions(),
        "date": now(),
    }
    write_json(out / "encode.json", facts, overwrite=True)
    return encoded


@contextmanager
def _interruptible(run: Run) -> Iterator[None]:
    """Say at Ctrl-C how many vectors the same call finds in the cache."""
    before = run.tally["encoded"] + run.tally["cached"]
    try:
        yield
    except KeyboardInterrupt:
        if run.cache is None:
            raise
        count = run.tally["encoded"] + run.tally["cached"] - before
        sentence = f"{number_of(count, 'vector is', 'vectors are')} in the cache; the same command goes on from there."
        raise KeyboardInterrupt(f"Interrupted: {sentence}") from None


def write_parquet(out: Path) -> int:
    """Write the vectors that ``encode`` wrote once more, as Parquet of image_id (a path, or a text) and embedding, to
    ``out``/parquet, which is replaced; return the number of files.
    """
    kind = "img_emb" if (out / "img_emb").is_dir() else "text_emb"
    table = read_clip_retrieval(out, kind)
    captions = table.columns["captions"].values if "captions" in table.columns else ()
    ids = list(table.columns["entity"].values) if kind == "img_emb" else ["".join(texts) for texts in captions]
    values = np.load(out / kind / f"{kind}_0.npy", mmap_mode="r")
    return write_embedding_parquet(out / "parquet", ids, values, overwrite=True)


@contextmanager
def _rows_of(path: Path, dim: int) -> Iterator[BinaryIO]:
    """Write rows to a .npy file whose number is known at the end; the file appears whole or not at all."""

    def head(rows: int) -> bytes:
        content = io.BytesIO()
        np.lib.format.write_array_header_1_0(content, {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)})
        return content.getvalue()

    with drafted(path, overwrite=True) as draft, draft.open("wb") as file:
        file.write(head(0))
        yield file
        rows = (file.tell() - len(head(0))) // (4 * dim)
        file.seek(0)
        file.write(head(rows))  # as long as before: NumPy leaves room for the number to grow


@contextmanager
def _table_of(path: Path, names: Sequence[str]) -> Iterator[Callable[[Mapping[str, Sequence[str]]], None]]:
    """Give what writes rows of text to a Parquet file, which appears whole, or stays as it was where the block
    fails.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in names])
    waiting: dict[str, list[str]] = {name: [] for name in names}

    def write(least: int) -> None:
        if len(waiting[names[0]]) >= least:
            writer.write_table(pa.table(waiting, schema=schema))
            for cells in waiting.values():
                cells.clear()

    def add(rows: Mapping[str, Sequence[str]]) -> None:
        for name, cells in rows.items():
            waiting[name] += cells
        write(_ROWS)

    with drafted(path, overwrite=True) as draft, pq.ParquetWriter(draft, schema) as writer:
        yield add
        write(1)


def _photos(data: LabelledData) -> tuple[Samples[Any], Mapping[str, Callable[[int], str]]]:
    """Bring all splits together, and return what tells the cells of an item."""
    tables = list(data.splits.items())
    joined = tables[0][1].items if len(tables) == 1 else Joined(tuple(table.items for _, table in tables))
    columns: dict[str, Callable[[int], str]] = {"image_path": lambda i: origin(joined.name(i))}
    if data.classes:
        if all("label" in table.columns for _, table in tables):
            labels = np.concatenate([table.labels() for _, table in tables])
            columns["label"] = lambda i: data.classes[labels[i]]
        ends = np.cumsum([len(table) for _, table in tables])
        columns["split"] = lambda i: tables[int(np.searchsorted(ends, i, side="right"))][0]
    return joined, columns
