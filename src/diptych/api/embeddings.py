"""What ``diptych.encode`` returns: unit vectors with the names of their items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import UnreadableItem
from diptych.core.wording import number_of

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False, eq=False)
class Embeddings:
    """Unit vectors of photos, regions or texts, in the order of what was given; what cannot be read is left out.

    Args:
        vectors: (N, D) float32, each of length 1.
        names: the path, or the text, of each.
        columns: name -> N values that are known of each beside its name, such as its class folder.
        data: what was done, as the command line prints with --json.
        failed: what could not be read, and why.
        out: folder that was written; None: nothing was.
        remarks: what a user should know, one sentence each.

    Example:
        >>> import diptych
        >>> colours = diptych.encode(texts=["red", "blue"], model=diptych.load("tiny", engine="torch"))
        >>> colours.vectors.shape, colours.names
        ((2, 128), ('red', 'blue'))
    """

    vectors: NDArray[np.float32]
    names: tuple[str, ...]
    columns: Mapping[str, Sequence[Any]]
    data: Mapping[str, Any]
    failed: tuple[UnreadableItem, ...] = ()
    out: Path | None = None
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return iter(self.vectors)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self.vectors[index]
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.vectors, dtype=dtype, copy=True) if copy else np.asarray(self.vectors, dtype=dtype)

    def __repr__(self) -> str:
        where = "" if self.out is None else f" in {self.out}"
        skipped = f", {len(self.failed)} skipped: {self.failed[0]}" if self.failed else ""
        return f"{number_of(len(self), 'vector')} of {self.dim} numbers{where}{skipped}"

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return int(self.vectors.shape[1])

    def as_dict(self) -> dict[str, Any]:
        """Return what was done as plain data; the vectors are not among it."""
        return dict(self.data)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with a row for each vector: its name, what is known of it, and the vector as "embedding".

        Raises:
            MissingExtra: pandas is not installed.
        """
        from diptych.api.results import need_pandas

        columns = {"path": self.names, **self.columns, "embedding": list(self.vectors)}
        frame: pandas.DataFrame = need_pandas().DataFrame(columns)
        return frame
