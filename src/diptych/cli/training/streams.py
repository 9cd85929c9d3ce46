"""Options of a training on a stream, in place of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from diptych.cli import flag_values, options
from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.data.labelled import LabelledData
    from diptych.train.streams import Streamed


def _stream(*names: str, help: str, **more: Any) -> Any:
    return options.option(*names, help=help, rich_help_panel="Stream", **more)


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
    shuffle: Annotated[int, _stream("--shuffle", help="Size of the shuffle buffer, in pairs.", min=1)] = 4096
    held_out: Annotated[
        int,
        _stream("--held-out", help="Pairs at the beginning of a stream that are measured, and not trained on.", min=2),
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
        from diptych.tasks.training.streams import all_tars

        return self.stream or all_tars(spec)

    def open(self, spec: str, text: str, shares: Sequence[float] = ()) -> tuple[LabelledData, Streamed]:
        """Return the held-out pairs, and the stream of the others.

        Raises:
            UsageError: it is no stream of pairs, or there are not as many weights as sources.
            DataError: it has fewer pairs than are held out.
        """
        from diptych.tasks.training.streams import Reading

        try:
            weights = None if self.weights is None else [float(w) for w in flag_values.words(self.weights)]
        except ValueError:
            raise UsageError(f'--weights takes numbers such as "2,1", not {self.weights!r}.') from None
        return Reading(self.shuffle, self.held_out, self.resampled, weights, self.lanes).open(spec, text, shares)
