"""Vectors that teachers gave a row's picture and its captions, stored beside them in a table or a shard."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Column, DataError, UnreadableItem
from diptych.data.rows import columns_of

OF_IMAGE, OF_TEXTS = "teacher_image", "teacher_text"
"""Columns of a row: (D,) of its picture, and (n, D) of its captions, synthetic ones last."""
NAMES = {OF_IMAGE: (OF_IMAGE, "image_emb"), OF_TEXTS: (OF_TEXTS, "text_emb")}
"""Usual names of the columns of a table, or of the arrays in the .npz member of a shard."""
MOST = 64 * 2**20
"""Bytes of the arrays of one member, unpacked, at most."""


def taught_columns(
    cells: Mapping[str, Sequence[Any]],
    rows: Sequence[int],
    table: str | os.PathLike[str],
    columns: Mapping[str, Column],
) -> dict[str, Column]:
    """Return the columns of teachers' vectors of some rows; {} where a table has none.

    Args:
        cells: name -> cells of the table: lists of numbers, or of lists of numbers, one per caption.
        rows: numbers of the rows.
        table: its name, for the error.
        columns: captions of these rows, by the names of ``weighted.KINDS``.

    Raises:
        DataError: a row has no vectors, or not one for its picture and one for each caption, of one size.
    """
    named = {name: next(iter(columns_of(cells, usual)), "") for name, usual in NAMES.items()}
    if not all(named.values()):
        return {}
    counts = [
        sum(len(columns[name].values[at]) for name in ("captions", "synthetic") if name in columns)
        for at in range(len(rows))
    ]
    pairs = [
        vectors(cells[named[OF_IMAGE]][i], cells[named[OF_TEXTS]][i], count, f"Row {i + 1} of {table}")
        for i, count in zip(rows, counts, strict=True)
    ]
    return {name: Column("vector", tuple(pair[k] for pair in pairs)) for k, name in enumerate(NAMES)}


def vectors(image: Any, texts: Any, count: int, where: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the vector (D,) of a picture and the vectors (n, D) of its captions.

    Args:
        image: D numbers, or one row of them.
        texts: n rows of D numbers, or as many numbers in one row.
        count: n.
        where: name of the row, for the error.

    Raises:
        DataError: they are not such numbers.

    Example:
        >>> image, texts = vectors([1.0, 0.0], [1.0, 0.0, 0.0, 1.0], 2, "Row 1")
        >>> image.shape, texts.shape
        ((2,), (2, 2))
    """
    try:
        x = np.asarray(image, dtype=np.float32)
        t = np.asarray(texts, dtype=np.float32)
    except (TypeError, ValueError):
        x = t = np.zeros(0, np.float32)
    x = x[0] if x.ndim == 2 and len(x) == 1 else x
    if x.ndim != 1 or not x.size or t.size != count * x.size or not (np.isfinite(x).all() and np.isfinite(t).all()):
        raise DataError(
            f"{where} has teachers' vectors of the sizes {x.shape} and {t.shape} for one picture and {count} captions: "
            f"store one of the picture and one for each caption, synthetic ones last, all of one length."
        )
    return x, t.reshape(count, x.size)


def arrays(content: bytes, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of vectors in an .npz member, by the keys of ``NAMES``.

    Raises:
        UnreadableItem: it is damaged, has none, or unpacks to more than ``MOST`` bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(info.file_size for info in packed.infolist()) > MOST:
                raise UnreadableItem(name, f"unpacks to more than {MOST:,} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            named = {key: next((n for n in usual if n in file.files), "") for key, usual in NAMES.items()}
            if all(named.values()):
                return {key: file[n] for key, n in named.items()}
            inside = ", ".join(file.files)[:100]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableItem(name, f"holds no arrays ({str(error)[:80]})") from None
    raise UnreadableItem(name, f"has no {' and '.join(NAMES)}, only {inside}")
