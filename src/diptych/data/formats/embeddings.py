"""Published embeddings: folders of clip-retrieval, Parquet of ids and vectors, DataComp metadata and lists of uids."""

from __future__ import annotations

import bisect
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Column, DataError, Table, UsageError
from diptych.data.files import drafted, escaped, write_whole
from diptych.data.formats.arrays import array_key, open_npy, open_npz
from diptych.data.named_sets import located
from diptych.data.rows import read_columns

_NUMBER = re.compile(r"_(\d+)$")
_UID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class VectorFiles(Sequence[NDArray[Any]]):
    """Vectors of several memory-mapped files as one sequence: samples, or the values of a "vector" column.

    Args:
        parts: arrays (n, D) of one width.
        labels: name of each part for users.
    """

    parts: tuple[NDArray[Any], ...] = field(repr=False, compare=False)
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if len({p.shape[1:] for p in self.parts}) > 1 or any(p.ndim != 2 for p in self.parts):
            raise DataError(
                f"{self.labels[0]} and its neighbours hold no vectors of one width: remove what does not belong there."
            )
        object.__setattr__(self, "_ends", list(accumulate(len(p) for p in self.parts)))

    def __len__(self) -> int:
        ends: list[int] = self.__dict__["_ends"]
        return ends[-1] if ends else 0

    def __getitem__(self, index: Any, /) -> Any:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        part, row = self._position(index)
        return np.array(self.parts[part][row])

    def take(self, indices: Sequence[int]) -> NDArray[Any]:
        """Return the (M, D) given vectors, in memory."""
        return np.stack([self[i] for i in indices]) if len(indices) else self.parts[0][:0]

    def key(self, index: int, /) -> str:
        """Return the SHA-256 of type, shape and bytes of a vector."""
        return array_key(self[index])

    def name(self, index: int, /) -> str:
        """Return the file and the row in it."""
        part, row = self._position(index)
        return f"{self.labels[part]}[{row}]"

    def _position(self, index: int) -> tuple[int, int]:
        ends: list[int] = self.__dict__["_ends"]
        index = range(len(self))[index]
        part = bisect.bisect_right(ends, index)
        return part, index - (ends[part] - len(self.parts[part]))


def read_clip_retrieval(folder: str | os.PathLike[str], items: str = "img_emb") -> Table[NDArray[Any]]:
    """Read a folder of clip-retrieval. The items are the vectors of "img_emb" or "text_emb"; those of the other folder,
    if it is there, become a "vector" column.

    Its files are img_emb/img_emb_<n>.npy, text_emb/text_emb_<n>.npy and metadata/metadata_<n>.parquet.

    Returns:
        A table of memory-mapped vectors, in the order of the file numbers. Columns from the metadata are "captions"
        (caption) and "entity" (image_path).

    Raises:
        UsageError: no such vectors.
        DataError: a file is damaged or of another width, or the parts have different numbers of rows.
    """
    base = Path(folder)
    vectors = {kind: _vectors(base / kind) for kind in ("img_emb", "text_emb") if (base / kind).is_dir()}
    if items not in vectors:
        raise UsageError(f"{base} has no folder {items}: give a folder that clip-retrieval inference wrote.")
    columns = {kind: Column("vector", v) for kind, v in vectors.items() if kind != items}
    cells: dict[str, list[str]] = {}
    for file in numbered(base / "metadata", ".parquet"):
        for name, values in read_columns(file, ("caption", "image_path").__contains__).items():
            cells.setdefault(name, []).extend("" if v is None else str(v) for v in values)
    if "caption" in cells:
        columns["captions"] = Column("captions", tuple((c,) if c else () for c in cells["caption"]))
    if "image_path" in cells:
        columns["entity"] = Column("entity", np.array(cells["image_path"], dtype=np.str_))
    return Table(vectors[items], columns)


def read_embedding_parquet(
    path: str | os.PathLike[str], *, ids: str = "image_id", vectors: str = "embedding"
) -> Table[NDArray[Any]]:
    """Read Parquet with a column of ids and a column of vectors, as NeMo Curator writes them.

    Args:
        path: a .parquet file or a folder of them, read in the order of their names; or an address of object storage.
        ids: column of the ids.
        vectors: column of lists of numbers, or of lists of fixed size.

    Returns:
        A table of float32 vectors in memory, with the column "entity", the ids.

    Raises:
        UsageError: no .parquet there.
        DataError: a file is damaged, has no such column, or vectors of several widths or none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    base = located(path)
    files = sorted(base.glob("*.parquet")) if base.is_dir() else [base]
    if not files or not all(file.is_file() for file in files):
        raise UsageError(f"{base} holds no .parquet files: give one, or a folder of them.")
    parts, names = [], list[str]()
    for file in files:
        try:
            table = pq.read_table(file, columns=[ids, vectors])
            values = vectors_of(table.column(vectors))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
            raise DataError(
                f"{file} cannot be read as ids in {ids!r} and vectors in {vectors!r} ({str(error)[:80]})."
            ) from None
        names += map(str, table.column(ids).to_pylist())
        if len(table):
            parts.append(values)
    if not parts:
        raise DataError(f"{base} holds no vectors: give files with at least one row.")
    stated = tuple(str(file) for file in files)[: len(parts)]
    return Table(VectorFiles(tuple(parts), stated), {"entity": Column("entity", np.array(names, dtype=np.str_))})


def vectors_of(column: Any) -> NDArray[np.float32]:
    """Return the (N, D) vectors of an Arrow column of lists; raises ValueError, TypeError or AttributeError where it
    holds others.
    """
    import pyarrow.compute as pc

    column = column.combine_chunks()
    lengths = set(pc.list_value_length(column).to_pylist())
    if len(lengths) > 1 or None in lengths:
        raise ValueError(f"vectors of {len(lengths)} widths, or without one")
    return np.asarray(column.flatten(), dtype=np.float32).reshape(len(column), *lengths or (0,))


def write_embedding_parquet(
    path: Path, ids: Sequence[str], vectors: NDArray[Any], *, overwrite: bool = False, rows: int = 50_000
) -> int:
    """Write ids and vectors as NeMo Curator reads them: files part-00000.parquet, ... of image_id and embedding.

    Args:
        path: folder to write, whole or not at all.
        ids: N ids, such as paths.
        vectors: (N, D), written as lists of float32.
        overwrite: replace a folder that is there.
        rows: of a file.

    Returns:
        The number of files.

    Raises:
        UsageError: the folder exists and ``overwrite`` is False, or ids and vectors are of different numbers.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if len(ids) != len(vectors):
        raise UsageError(f"{len(ids)} ids and {len(vectors)} vectors do not belong together: give one for each.")
    starts = range(0, max(1, len(ids)), rows)
    with drafted(path, overwrite=overwrite) as draft:
        draft.mkdir()
        for number, start in enumerate(starts):
            some = np.ascontiguousarray(vectors[start : start + rows], dtype=np.float32)
            ends = np.arange(len(some) + 1, dtype=np.int32) * some.shape[1]
            lists = pa.ListArray.from_arrays(pa.array(ends), pa.array(some.reshape(-1)))
            names = pa.array([escaped(name) for name in ids[start : start + rows]], pa.string())
            pq.write_table(pa.table({"image_id": names, "embedding": lists}), draft / f"part-{number:05d}.parquet")
    return len(starts)


def _vectors(folder: Path) -> VectorFiles:
    files = numbered(folder, ".npy")
    if not files:
        raise UsageError(f"{folder} holds no .npy files: give a folder that clip-retrieval inference wrote.")
    return VectorFiles(tuple(open_npy(f) for f in files), tuple(map(str, files)))


def numbered(folder: Path, ending: str) -> list[Path]:
    """Return the files <name>_<n> of a folder in numeric order of n."""
    numbered = [(int(m[1]), f) for f in folder.glob(f"*{ending}") if (m := _NUMBER.search(f.stem))]
    return [f for _, f in sorted(numbered)]


def read_datacomp(folder: str | os.PathLike[str], vectors: str = "l14_img") -> Table[NDArray[Any]]:
    """Read DataComp's metadata: pairs <name>.parquet (with uid and optionally text) and <name>.npz.

    Args:
        folder: folder with the pairs.
        vectors: array of each .npz: "b32_img", "b32_txt", "l14_img" or "l14_txt".

    Returns:
        A table of vectors in memory, in the order of the file names, with columns "entity", the uids, and "captions"
        where there is text.

    Raises:
        UsageError: no .parquet there.
        DataError: a uid is not valid, a file is damaged, or parquet and npz have different numbers of rows.
    """
    files = sorted(Path(folder).glob("*.parquet"))
    if not files:
        raise UsageError(f"{folder} holds no .parquet files: give DataComp's metadata folder.")
    parts, uids, texts = [], list[str](), list[str | None]()
    for file in files:
        cells = read_columns(file, ("uid", "text").__contains__)
        part = open_npz(file.with_suffix(".npz"), vectors)
        if "uid" not in cells or len(cells["uid"]) != len(part):
            raise DataError(
                f"{file} has {len(cells.get('uid', ()))} uids for {len(part)} vectors: fetch both files again."
            )
        parts.append(part)
        uids += [str(u) for u in cells["uid"]]
        texts += cells.get("text", [None] * len(part))
    _check_uids(uids)
    columns = {"entity": Column("entity", np.array(uids, dtype=np.str_))}
    if any(t is not None for t in texts):
        columns["captions"] = Column("captions", tuple((t,) if t else () for t in texts))
    return Table(VectorFiles(tuple(parts), tuple(str(f.with_suffix(".npz")) for f in files)), columns)


def write_uids(path: str | os.PathLike[str], uids: Sequence[str]) -> None:
    """Write uids for DataComp's resharder: a sorted .npy of two 64-bit numbers each.

    Args:
        path: new file; no ending is added to its name.
        uids: 32 hexadecimal digits each, in any order; duplicates stay.

    Raises:
        UsageError: the file exists.
        DataError: a uid is not valid.
    """
    _check_uids(uids)
    pairs = np.array([(int(u[:16], 16), int(u[16:], 16)) for u in uids], dtype=np.dtype("u8,u8"))
    pairs.sort()
    if os.path.exists(path):
        raise UsageError(f"{path} exists already: remove it, or choose another name.")
    content = io.BytesIO()
    np.save(content, pairs, allow_pickle=False)
    write_whole(Path(path), content.getvalue())


def read_uids(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the uids of a file of ``write_uids`` or DataComp.

    Raises:
        UsageError: no such file.
        DataError: the file has no uids.
    """
    pairs = open_npy(path)
    if pairs.dtype != np.dtype("u8,u8") or pairs.ndim != 1:
        raise DataError(f"{path} holds no uids: give a .npy that DataComp or write_uids wrote.")
    return tuple(f"{high:016x}{low:016x}" for high, low in pairs.tolist())


def _check_uids(uids: Sequence[str]) -> None:
    wrong = next((u for u in uids if not _UID.fullmatch(u)), None)
    if wrong is not None:
        raise DataError(f"{wrong[:60]!r} is no uid of DataComp: it needs 32 hexadecimal digits in lower case.")
