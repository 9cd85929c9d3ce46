"""What ``diptych.encode`` returns: an array of unit vectors with the names of their items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import UnreadableItem
from diptych.core.guesses import guesses
from diptych.core.wording import lacks, number_of

if TYPE_CHECKING:
    import pandas


class Embeddings(np.ndarray[Any, np.dtype[np.float32]]):
    """An (N, D) float32 array of unit vectors of photos, regions or texts, in the order of what was given; what cannot
    be read is left out. What is computed from it is an array without the attributes.

    Attributes:
        names: the path, or the text, of each; () of a part of the array.
        columns: name -> N values that are known of each beside its name, such as its class folder.
        failed: what could not be read, and why.
        out: folder that was written; None: nothing was.
        remarks: what a user should know, one sentence each.

    Example:
        >>> import diptych
        >>> colours = diptych.encode(texts=["red", "blue"], model=diptych.load("tiny", engine="torch"))
        >>> colours.shape, colours.names, (colours @ colours.T).shape
        ((2, 128), ('red', 'blue'), (2, 2))
    """

    names: tuple[str, ...] = ()
    columns: Mapping[str, Sequence[Any]] = MappingProxyType({})
    failed: tuple[UnreadableItem, ...] = ()
    out: Path | None = None
    remarks: tuple[str, ...] = ()
    _facts: Mapping[str, Any] = MappingProxyType({})

    @classmethod
    def of(cls, vectors: NDArray[np.float32], attributes: Mapping[str, Any]) -> Embeddings:
        """Return (N, D) vectors with attributes; ``_facts`` is what was done, as the command prints it with --json."""
        rows = vectors.view(cls)
        rows.__dict__.update(attributes)
        return rows

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def __reduce__(self) -> Any:
        return Embeddings.of, (self.vectors, self.__dict__)

    def __repr__(self) -> str:
        if not self.names:
            return repr(self.vectors)
        where = "" if self.out is None else f" in {self.out}"
        skipped = f", {len(self.failed)} skipped: {self.failed[0]}" if self.failed else ""
        return f"{number_of(len(self), 'vector')} of {self.dim} numbers{where}{skipped}"

    if not TYPE_CHECKING:  # names stay checked

        def __getattr__(self, name: str) -> Any:
            if name in guesses("Embeddings"):
                raise lacks(self, name)
            sentence = f"Embeddings are an array of NumPy with names, columns and to_pandas(), and have no {name!r}."
            raise AttributeError(sentence, name=name, obj=self)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The same as a plain array."""
        return np.asarray(self)

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return int(self.shape[-1])

    def as_dict(self) -> dict[str, Any]:
        """Return what was done as plain data; the vectors are not among it."""
        return dict(self._facts)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with a row for each vector: its name, what is known of it, and the vector as "embedding".

        Raises:
            MissingExtra: pandas is not installed.
        """
        from diptych.core.errors import need_pandas

        columns = {"path": self.names, **self.columns, "embedding": list(self.vectors)}
        return need_pandas().DataFrame(columns)
