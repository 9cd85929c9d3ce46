"""``pretrain``: train a copy of a model, or one from random weights, on captioned photos."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import UsageError
from diptych.core.ranges import at_least, between
from diptych.tasks.defaults import DEFAULTS
from diptych.verbs import kinds
from diptych.verbs.arguments import argument, method
from diptych.verbs.reads import needs
from diptych.verbs.train.fitting import PartNames
from diptych.verbs.train.training import Training

if TYPE_CHECKING:
    from diptych.core import Objective, Recipe
    from diptych.data.keys import FileKeys
    from diptych.data.labelled import LabelledData
    from diptych.train.streams import Streamed


def _stream(help: str, default: Any, **more: Any) -> Any:
    return argument(help, more.pop("kind", kinds.PLAIN), default, panel="Stream", **more)


@dataclass(frozen=True, kw_only=True)
class Pretrain(PartNames, Training):
    """Train a backbone on captioned photos; every command then takes it as --backbone local:OUT/model."""

    out: ClassVar[str] = "pretrained"

    data: Any = argument(
        'A table with paths and captions, a folder with captions, or tars, several joined by "::"; for some, photos '
        "alone.", kinds.Kind(str), flag="TABLE", positional=True,
    )  # fmt: skip
    method: str | Objective | Recipe = method(
        DEFAULTS["pretrain"], "See diptych systems --verb pretrain.", flag="--objective"
    )
    variant: str = argument("Variant of the objective, such as loob; see diptych systems NAME.", default="")
    scratch: bool = argument("Start from random weights of the backbone's shape.", default=False)
    denoiser: str = argument(
        "Denoiser that teaches details, for systems that learn from one: small, or local:FOLDER with a diffusers "
        "pipeline.", default="small", reads=needs("TextDiffusion"),
    )  # fmt: skip
    epochs: int = argument("Passes over the training rows.", default=10, range=at_least(1))
    train_batch: int = argument("Batch size: rows in one step.", default=128, range=at_least(2))
    decay: float = argument("Weight decay.", default=0.2, flag="--weight-decay", range=at_least(0))

    stream: bool = _stream(
        "Read a .csv, .tsv or Parquet file as a stream; tars, and a folder of them, always are one.", False
    )
    shuffle: int = _stream("Size of the shuffle buffer, in pairs.", 4096, range=at_least(1))
    held_out: int = _stream("Pairs at the start of a stream to hold out for measuring.", 256, range=at_least(2))
    resampled: bool = _stream("Draw shards with replacement, instead of each once per epoch.", False)
    weights: str | Sequence[float] = _stream(
        'With sources joined by "::", how often a shard of each is drawn, such as "2,1"; they are then drawn with '
        "replacement.", (), kind=kinds.SHARES,
    )  # fmt: skip
    lanes: int = _stream(
        "Shards that a process reads at once: as many of its workers read as divide this number.", 8,
        range=between(1, 256),
    )  # fmt: skip

    def check_given(self, given: frozenset[str]) -> None:
        """Refuse what belongs to streams for a table, and the other way round."""
        super().check_given(given)
        idle = [name for name in ("shuffle", "held_out", "resampled", "weights", "lanes") if name in given]
        if self.is_stream():
            if self.regions is not None:
                raise UsageError("Regions belong to the photos of a table: leave out {regions}, or {stream}.")
            if self.parts == "heads":
                raise UsageError("Heads learn from vectors that are computed before: give a table, or {parts} all.")
        elif idle:
            raise UsageError(
                f"{self._path() or 'This'} is not read as a stream, so {{{idle[0]}}} has no effect: leave it out."
            )

    def check_with(self, system: Any) -> None:
        """Refuse a system whose parts are not named."""
        from diptych.tasks.training.named_parts import need_parts

        need_parts(system.card, self.named())

    def is_stream(self) -> bool:
        """Return whether data are read as a stream: on request, and tars in any case.

        Raises:
            UsageError: a stream is no path.
        """
        from diptych.tasks.training.streams import all_tars

        path = self._path()
        if path is None and self.stream:
            raise UsageError("A stream is read from tars, or from a table on disk: give {data} by its path.")
        return path is not None and (self.stream or all_tars(path))

    def from_random(self) -> bool:
        """Return whether the training starts from random weights."""
        return self.scratch

    def kit(self, system: Objective | Recipe, device: str) -> Mapping[str, Any]:
        """Return the parts that the system needs beside the model, loaded."""
        from diptych.tasks.training.named_parts import parts_for

        return parts_for(system.card, device, denoiser=self.denoiser, **self.named())

    def opened(self, keys: FileKeys | None) -> tuple[LabelledData, Streamed | None]:
        """Return the data, or the pairs that are held out and the stream of the others."""
        from diptych.data.formats.region_table import with_regions
        from diptych.tasks.training.streams import Reading

        shares: Any = self.caption_weights
        if self.is_stream():
            weights: Any = self.weights or None
            reading = Reading(self.shuffle, self.held_out, self.resampled, weights, self.lanes)
            return reading.open(str(self._path()), self.captions, shares)
        rows, _ = super().opened(keys)
        return (rows if self.regions is None else with_regions(rows, self.regions)), None

    def _path(self) -> str | None:
        return os.fspath(self.data) if isinstance(self.data, (str, os.PathLike)) else None
