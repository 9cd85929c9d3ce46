"""Options of a training on a stream, in place of a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from diptych.cli import options

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
            "--stream", help="Read a .csv, .tsv or Parquet file, or a folder of tars, as a stream; tars always are one."
        ),
    ] = False
    shuffle: Annotated[int, _stream("--shuffle", help="Pairs among which a process draws the next.", min=1)] = 4096
    held_out: Annotated[
        int, _stream("--held-out", help="First pairs of a stream that are measured, and not trained on.", min=2)
    ] = 256

    def reads(self, spec: str) -> bool:
        """Return whether data are read as a stream: on request, and tars in any case."""
        return self.stream or spec.lower().endswith(".tar")

    def open(self, spec: str, text: str) -> tuple[LabelledData, Streamed]:
        """Return the held-out pairs, and the stream of the others.

        Raises:
            UsageError: it is no stream of pairs.
            DataError: it has fewer pairs than are held out.
        """
        from diptych.data.load import open_stream
        from diptych.tasks.training.data import held_out
        from diptych.train.streams import Streamed

        stream = open_stream(spec, text=text)
        data, positions = held_out(stream, Path(spec).name, self.held_out)
        return data, Streamed(stream, self.shuffle, positions, skip=True)
