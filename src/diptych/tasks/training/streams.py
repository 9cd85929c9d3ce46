"""A training on a stream of pairs, which is read once, in place of a table."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diptych.core import Stream, UsageError
from diptych.core.wording import number_of
from diptych.data.files import address_of
from diptych.data.labelled import LabelledData
from diptych.data.load import open_stream
from diptych.data.named_sets import located
from diptych.tasks.training.data import held_out as first_pairs
from diptych.train.streams import Streamed

SEVERAL = "::"
"""Between the sources of one stream, as open_clip writes them."""
BESIDE_TARS = frozenset((".tar", ".json", ".txt", ".parquet", ".md"))
"""Endings in a folder of tars, as the tools that make such folders leave them."""


def tars(spec: str) -> bool:
    """Return whether data are tars, or a folder of this machine with nothing but these and files that describe them.

    Example:
        >>> tars("shards/{0..9}.tar"), tars("pairs.csv")
        (True, False)
    """
    if spec.lower().endswith(".tar"):
        return True
    if address_of(spec) is not None or not (folder := located(spec)).is_dir():
        return False
    kinds = {path.suffix.lower() if path.is_file() else "folder" for path in folder.iterdir()}
    return ".tar" in kinds and kinds <= BESIDE_TARS


def all_tars(spec: str) -> bool:
    """Return whether all sources of a stream are tars: these are always read as one."""
    return all(map(tars, spec.split(SEVERAL)))


@dataclass(frozen=True)
class Reading:
    """How a stream of pairs is read.

    Args:
        shuffle: pairs among which a process draws the next, >= 1.
        held_out: first pairs, >= 2, that are measured and not trained on.
        resampled: whether shards are drawn with replacement, in place of each once per epoch.
        weights: how often a shard of each source is drawn, in proportion; None: equally often, where ``resampled``.
        lanes: shards that a process reads at once, 1 to 256.
    """

    shuffle: int = 4096
    held_out: int = 256
    resampled: bool = False
    weights: Sequence[float] | None = None
    lanes: int = 8

    def open(self, spec: str, text: str = "", shares: Sequence[float] = ()) -> tuple[LabelledData, Streamed]:
        """Return the held-out pairs, and the stream of the others.

        Args:
            spec: tars, or a .csv, .tsv or Parquet file; several sources are joined by "::".
            text: column with the caption, or several with commas between them, or fields of the JSON members of tars;
                "" finds it by its usual names.
            shares: weight of each of these columns; (): all are equal.

        Raises:
            UsageError: it is no stream of pairs, or there are not as many weights as sources.
            DataError: it has fewer pairs than are held out.
        """
        names = spec.split(SEVERAL)
        sources = tuple(open_stream(name, text=text, shares=shares) for name in names)
        stream = Chained(sources) if len(names) > 1 else sources[0]
        data, positions = first_pairs(stream, SEVERAL.join(Path(n).name for n in names), self.held_out)
        drawn = None
        if self.resampled or self.weights is not None:
            shares = [1.0] * len(names) if self.weights is None else list(map(float, self.weights))
            if len(shares) != len(names):
                raise UsageError(
                    f"{{weights}} has {number_of(len(shares), 'number')} for {number_of(len(names), 'source')}: "
                    f"give one for each."
                )
            drawn = Chained(sources).each(shares)
        return data, Streamed(stream, self.shuffle, positions, skip=True, lanes=self.lanes, weights=drawn)


SOURCE = 2**52
"""A position is the number of the source times this, plus the position in the source."""


@dataclass(frozen=True)
class Chained:
    """Several streams, one after another, as a Stream of core.data that can be split at their files.

    A stream that cannot be split, such as that of a table, counts as one file.

    Example:
        >>> from diptych.data.formats.tars import TarStream
        >>> Chained((TarStream(("a.tar", "b.tar")), TarStream(("c.tar",)))).each((2.0, 1.0))
        (2.0, 2.0, 1.0)
    """

    sources: tuple[Stream[Any], ...]
    first: int = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        for number, source in enumerate(self.sources, self.first):
            for position, item in source:
                yield number * SOURCE + position, item

    def outcomes(self) -> Generator[tuple[int, Any], None, None]:
        """Yield (position, item or UnreadableItem) of all items, where a source tells them apart."""
        for number, source in enumerate(self.sources, self.first):
            tried = getattr(source, "outcomes", None)
            for position, item in tried() if tried else iter(source):
                yield number * SOURCE + position, item

    def seek(self, position: int) -> Chained:
        """Return the stream that starts at a position, which was counted by this stream."""
        number, inner = divmod(position, SOURCE)
        skipped = number - self.first
        begun = self.sources[skipped].seek(inner)
        return replace(self, sources=(begun, *self.sources[skipped + 1 :]), first=number)

    @property
    def shards(self) -> Sequence[str]:
        """Names of the files, in reading order."""
        return tuple(name for source in self.sources for name in _files(source))

    def parts(self, count: int) -> list[Chained]:
        """Return streams of one file each, whatever the count; each item is in one, at the same position."""
        split = [
            source.parts(len(names)) if len(names := _files(source)) > 1 else [source]  # type: ignore[attr-defined]
            for source in self.sources
        ]
        return [Chained((part,), number) for number, parts in enumerate(split, self.first) for part in parts]

    def each(self, values: Sequence[float]) -> tuple[float, ...]:
        """Return the value of its source for each file."""
        return tuple(v for v, source in zip(values, self.sources, strict=True) for _ in _files(source))


def _files(source: Stream[Any]) -> Sequence[str]:
    return getattr(source, "shards", ()) or (str(getattr(source, "path", "")),)
