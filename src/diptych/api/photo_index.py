"""What ``diptych.index`` returns: an index that can be searched."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from diptych.api.elsewhere import answers_for
from diptych.core.wording import Guided, number_of

if TYPE_CHECKING:
    from diptych.api.model import ModelLike
    from diptych.api.results import Results
    from diptych.core import UnreadableItem
    from diptych.search_index.rows import Hit


class PhotoIndex(Guided):
    """An index of photos. One that was made without a folder lies in a temporary one, and is gone with this object.

    Args:
        folder: of the index.
        data: what was done, as the command line prints with --json.
        failed: what could not be read, and why.
        remarks: what a user should know, one sentence each.
        model: with which it was made; None: its own is loaded for a search.
        search: ``diptych.search``.
        temporary: whether the folder goes with this object.
    """

    def __init__(
        self, folder: Path, data: Mapping[str, Any], failed: Sequence[UnreadableItem], remarks: Sequence[str],
        model: ModelLike, search: Callable[..., Results[Hit]], *, temporary: bool,
    ) -> None:  # fmt: skip
        self.folder, self.data, self.failed, self.remarks = folder, data, tuple(failed), tuple(remarks)
        self._model, self._search = model, search
        if temporary:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def __repr__(self) -> str:
        from diptych.data.files import named

        done = ", ".join(f"{getattr(self, n)} {n}" for n in ("added", "unchanged", "removed"))
        skipped = [f"{len(self.failed)} skipped: {self.failed[0]}"] if self.failed else []
        head = f"{number_of(self.entries, 'entry', 'entries')} in {named(self.folder)}: {done}"
        return "\n".join([head, *skipped, *self.remarks])

    def __fspath__(self) -> str:
        """Return the folder, so that the object itself can be given wherever an index is."""
        return str(self.folder)

    def __len__(self) -> int:
        return self.entries

    def __getitem__(self, key: object) -> NoReturn:
        raise TypeError("A PhotoIndex has no positions and no keys: use search(query, top=...)[0].")

    @property
    def entries(self) -> int:
        """Number of entries."""
        from diptych.search_index.opening import index_at

        with index_at(self.folder) as index:
            return len(index)

    @property
    def added(self) -> int:
        """Number of entries that the call added."""
        return int(self.data.get("added", 0))

    @property
    def unchanged(self) -> int:
        """Number of entries that the call passed over, since their files have not changed."""
        return int(self.data.get("unchanged", 0))

    @property
    def removed(self) -> int:
        """Number of entries that the call deleted."""
        return int(self.data.get("removed", 0))

    def as_dict(self) -> dict[str, Any]:
        """Return what was done as plain data."""
        return dict(self.data)

    @answers_for(
        dict.fromkeys(("k", "n", "top_k", "topk", "limit", "n_results", "num_results", "size"), "top=")
        | dict.fromkeys(("text", "image", "q", "words", "photo", "vector"), "query=")
        | dict.fromkeys(("threshold", "min_score", "cutoff"), "at_least=")
        | dict.fromkeys(("filter", "filters"), "where=")
    )
    def search(
        self,
        query: object,
        *,
        minus: object = (),
        where: str | Sequence[str] = (),
        top: int = 10,
        captions: float | None = None,
        exact: bool = False,
        at_least: float | None = None,
    ) -> Results[Hit]:
        """Return the entries nearest to words, pictures, or both; see ``diptych.search``."""
        return self._search(
            self.folder, query, self._model, minus=minus, where=where, top=top, captions=captions, exact=exact,
            at_least=at_least,
        )  # fmt: skip
