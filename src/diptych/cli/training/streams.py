"""Options of a training on a stream, in place of a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from diptych.cli import flag_values, options
from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.data.labelled import LabelledData
    from diptych.train.streams import Streamed

SEVERAL = "::"
"""Between the sources of one stream, as open_clip writes them."""
BESIDE_TARS = frozenset((".tar", ".json", ".txt", ".parquet", ".md"))
"""Endings in a folder of tars, as the tools that make such folders leave them."""


def _stream(*names: str, help: str, **more: Any) -> Any:
    return options.option(*names, help=help, rich_help_panel="Stream", **more)


def tars(spec: str) -> bool:
    """Return whether data are tars, or a folder of this machine with nothing but these and files that describe them."""
    from diptych.data.files import address_of
    from diptych.data.named_sets import located

    if spec.lower().endswith(".tar"):
        return True
    if address_of(spec) is not None or not (folder := located(spec)).is_dir():
        return False
    kinds = {path.suffix.lower() if path.is_file() else "folder" for path in folder.iterdir()}
    return ".tar" in kinds and kinds <= BESIDE_TARS


@dataclass(frozen=True)
class StreamOptions:
    """How pairs are read once, and not kept."""

    stream: Annotated[
        bool,
        _stream(
            "--stream",
            help="Read a .csv, .tsv or Parquet file as a stream; tars, and a folder of them, always are one.",
        ),
    ] = False
    shuffle: Annotated[int, _stream("--shuffle", help="Pairs among which a process draws the next.", min=1)] = 4096
    held_out: Annotated[
        int, _stream("--held-out", help="First pairs of a stream that are measured, and not trained on.", min=2)
    ] = 256
    resampled: Annotated[
        bool, _stream("--resampled", help="Draw shards with replacement, in place of each once an epoch.")
    ] = False
    weights: Annotated[
        str | None,
        _stream(
            "--weights",
            help='With sources joined by "::", how often a shard of each is drawn, such as "2,1"; --resampled in any '
            "case.",
        ),
    ] = None

    lanes: Annotated[
        int,
        _stream(
            "--lanes",
            help="Shards that a process reads at once: as many of its --workers read as divide this number.",
            min=1,
            max=256,
        ),
    ] = 8

    def reads(self, spec: str) -> bool:
        """Return whether data are read as a stream: on request, and tars in any case."""
        return self.stream or all(map(tars, spec.split(SEVERAL)))

    def open(self, spec: str, text: str) -> tuple[LabelledData, Streamed]:
        """Return the held-out pairs, and the stream of the others.

        Raises:
            UsageError: it is no stream of pairs, or there are not as many weights as sources.
            DataError: it has fewer pairs than are held out.
        """
        from diptych.data.chained import Chained
        from diptych.data.load import open_stream
        from diptych.tasks.training.data import held_out
        from diptych.train.streams import Streamed

        names = spec.split(SEVERAL)
        sources = tuple(open_stream(name, text=text) for name in names)
        stream = Chained(sources) if len(names) > 1 else sources[0]
        data, positions = held_out(stream, SEVERAL.join(Path(n).name for n in names), self.held_out)
        drawn = None
        if self.resampled or self.weights is not None:
            given = flag_values.words(self.weights or ",".join(["1"] * len(names)))
            try:
                shares = [float(w) for w in given]
            except ValueError:
                raise UsageError(f'--weights takes numbers such as "2,1", not {self.weights!r}.') from None
            if len(shares) != len(names):
                raise UsageError(
                    f"--weights has {len(shares)} numbers, and there are {len(names)} sources: give one for each."
                )
            drawn = Chained(sources).each(shares)
        return data, Streamed(stream, self.shuffle, positions, skip=True, lanes=self.lanes, weights=drawn)
