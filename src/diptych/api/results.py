"""What the verbs return: one result per photo, that prints, indexes, iterates and converts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from diptych.api.spelling import spelled
from diptych.core import UnreadableItem, UsageError
from diptych.core.errors import need_pandas
from diptych.core.guesses import guesses
from diptych.core.wording import aligned, lacks, renamed, short_names
from diptych.data.files import plain, write_json
from diptych.tasks.pages.photo_page import address

if TYPE_CHECKING:
    import numpy as np
    import pandas
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from PIL import Image


T = TypeVar("T")
PRINTED, PICTURED = 20, 50
"""Rows that are printed, and that are shown with their pictures in a notebook."""
WIDEST = 60
"""Columns of the longest name behind which lines are aligned."""


@dataclass(frozen=True, repr=False, eq=False)
class Results(Sequence[T], Generic[T]):
    """Results in the order of what was given, those that cannot be read left out.

    Args:
        title: what was done, in a few words.
        items: one result each: ``results[0]``.
        item_names: what the user calls each.
        labels: what was said of each, in one word or sentence.
        lines: the same with its numbers, as it is printed.
        columns: name -> N values, for ``to_pandas``.
        data: what ``to_json`` writes, and the command line prints with --json.
        failed: what could not be read, and why.
        picture: gives the picture of a result; None where there are none.
        remarks: what a user should know beside the results, one sentence each.
        named: what ``item_names`` are, and are called in ``to_pandas``: "path" where they are paths.
        classes: names of K classes, where each result has a probability of each.
        table: these (N, K) probabilities, see ``probabilities``.
        truth: the class that the data say of each, where these are labelled; else ().
    """

    title: str
    items: tuple[T, ...]
    item_names: tuple[str, ...]
    labels: tuple[str, ...]
    lines: tuple[str, ...]
    columns: Mapping[str, Sequence[Any]]
    data: Mapping[str, Any]
    failed: tuple[UnreadableItem, ...] = ()
    picture: Callable[[int], Image.Image | None] | None = field(default=None)
    named: str = "path"
    remarks: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    table: NDArray[np.floating[Any]] | None = field(default=None)
    truth: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "picture": None}  # it may hold an open data set

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        if not (isinstance(index, slice) or hasattr(index, "__index__")):
            names = "paths" if self.named == "path" else "names"
            raise TypeError(f"Results are numbered: give a position, such as {names}.index(...), not {index!r}.")
        return self.items[index]

    if not TYPE_CHECKING:  # names stay checked

        def __getattr__(self, name: str) -> Any:
            raise lacks(self, name, self._elsewhere(name))

    def __contains__(self, value: object) -> bool:
        if self.items and isinstance(value, (str, tuple)) and not isinstance(self.items[0], type(value)):
            raise TypeError(f"Results hold a {type(self.items[0]).__name__} each: look for {value!r} in to_pandas().")
        return value in self.items

    def _elsewhere(self, name: str) -> Mapping[str, str]:
        """Return what to use for a name that another library has: a fact of the data, or what each item has."""
        if name.startswith("_"):  # as pickle asks before there are items
            return {}
        if self.data.get("kind") == "board" and name in (board := guesses("Board")):
            return board
        if name in ("probs", "proba", "predict_proba"):
            return {name: "probabilities" if self.table is not None else guesses("Results")["probabilities"]}
        for one in (name, name.removesuffix("s")):
            if self.items and hasattr(self.items[0], one):
                call = "()" if callable(getattr(self.items[0], one)) else ""
                return {name: f"[item.{one}{call} for item in results], or to_pandas()"}
        return {name: f"data[{name!r}]"} if name in self.data and name != "predictions" else {}

    def __repr__(self) -> str:
        shown = aligned(short_names(self.item_names), WIDEST)
        rows = [f"{name}  {line}".rstrip() for name, line in zip(shown, self.lines, strict=True)]
        more = [f"... and {len(rows) - PRINTED:,} more"] if len(rows) > PRINTED else []
        skipped = [f"{len(self.failed)} skipped: {self.failed[0]}"] if self.failed else []
        return "\n".join([self.title, *rows[:PRINTED], *more, *skipped, *self.remarks])

    @property
    def probabilities(self) -> NDArray[np.floating[Any]]:
        """The (N, K) probabilities of all ``classes``, where every one is known.

        Raises:
            AttributeError: these results have none.
        """
        if self.table is None:
            raise AttributeError(f"A Results has no 'probabilities': use {guesses('Results')['probabilities']}.")
        return self.table

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the photos, one each."""
        if self.named != "path":
            raise AttributeError(f"These results are not of files: use names, which has one {self.named} each.")
        return self.item_names

    @property
    def names(self) -> tuple[str, ...]:
        """What the user calls each, where these are no files; of files, the former name of ``paths``."""
        if self.named == "path":
            renamed("Results.names", "Results.paths")
        return self.item_names

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, as the command line prints with --json."""
        return dict(self.data)

    def to_json(self, path: str | Path | None = None, *, overwrite: bool = False) -> str:
        """Return the results as JSON, and write them to a file where one is named.

        Raises:
            UsageError: the file exists and ``overwrite`` is False.
        """
        if path is not None:
            write_json(Path(path), self.as_dict(), overwrite=overwrite)
        return json.dumps(plain(self.data), indent=2, ensure_ascii=False)

    def to_pandas(self, form: Literal["", "wide", "long"] = "") -> pandas.DataFrame:
        """Return a table.

        Args:
            form: "": a row each; "wide": with the probability of every class as a further column; "long": a row for
                each and every class.

        Raises:
            UsageError: there are no such probabilities, or no such form.
            MissingExtra: pandas is not installed.
        """
        pd = need_pandas()
        columns = {self.named: self.item_names, **self.columns, **({"truth": self.truth} if self.truth else {})}
        if form not in ("", "wide", "long"):
            raise UsageError(f"form= must be 'wide' or 'long', got {form!r}.")
        if not form:
            return pd.DataFrame(columns)
        if self.table is None:
            raise UsageError(f"These results have no probability of every class: leave out form={form!r}.")
        if form == "wide":
            return pd.DataFrame({**columns, **{f"p({c})": self.table[:, k] for k, c in enumerate(self.classes)}})
        repeated = {name: [v for v in values for _ in self.classes] for name, values in columns.items()}
        every = [*self.classes] * len(self)
        return pd.DataFrame({**repeated, "class": every, "probability": self.table.reshape(-1)})

    @property
    def accuracy(self) -> float:
        """Share of labelled results whose label is the true class, in [0, 1].

        Raises:
            AttributeError: the data have no labels.
        """
        if not self.truth:
            raise AttributeError(
                "These results have no true classes and so no accuracy: give class folders or a table with a column "
                "label, or compare .labels with labels of your own."
            )
        return sum(a == b for a, b in zip(self.labels, self.truth, strict=True)) / len(self)

    def confusion_matrix(self) -> pandas.DataFrame:
        """Return counts: true classes in rows, those that were named in columns.

        Raises:
            UsageError: the data have no labels.
            MissingExtra: pandas is not installed.
        """
        if not self.truth:
            raise UsageError("A confusion matrix needs labelled data: class folders, or a table with labels.")
        every = [*self.classes, *sorted({*self.truth, *self.labels} - set(self.classes))]
        table = need_pandas().DataFrame(0, index=every, columns=every)
        for true, label in zip(self.truth, self.labels, strict=True):
            table.loc[true, label] += 1
        return table

    @spelled()
    def plot(self, kind: str = "") -> Figure:
        """Return a figure of matplotlib, which a notebook shows and ``.savefig("plot.png")`` writes.

        Args:
            kind: "board", the metric of each row of a board with its interval; "classes", how often each was named;
                "confusion", true classes against those that were named; "reliability", accuracy against confidence; or
                "pictures" with their labels, overlays or heat maps. "": the rows of a board, the confusion matrix of
                labelled photos, else the classes, else the pictures.

        Raises:
            UsageError: there is nothing to plot, or not of this kind.
            MissingExtra: matplotlib is not installed, the extra plot.
        """
        from diptych.api.plots import plot

        return plot(self, kind)

    def _repr_html_(self) -> str:
        """Return the first results with small pictures, for notebooks; everything is inside, nothing is loaded."""
        cards = []
        for i, name in enumerate(map(escape, short_names(self.item_names)[:PICTURED])):
            source = self._address(i)
            image = f'<img src="{source}" alt="{name}" style="max-width:160px">' if source else ""
            caption = f"<b>{name}</b><br>{escape(self.lines[i])}"
            cards.append(f'<figure style="margin:0;max-width:180px">{image}<figcaption>{caption}</figcaption></figure>')
        more = f"<p>... and {len(self) - PICTURED:,} more</p>" if len(self) > PICTURED else ""
        skipped = "".join(f"<p>skipped: {escape(str(e))}</p>" for e in self.failed[:PRINTED])
        grid = f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(cards)}</div>'
        return f"<div><p>{escape(self.title)}</p>{grid}{more}{skipped}</div>"

    def _address(self, index: int) -> str:
        if self.picture is None:
            return ""
        try:
            picture = self.picture(index)
            return "" if picture is None else address(picture, 160)
        except UnreadableItem:
            return ""
