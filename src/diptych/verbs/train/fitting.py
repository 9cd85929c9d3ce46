"""Arguments that trainings and boards of trainings share: which parts learn, how long, and which parts are beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core.ranges import at_least, one_of
from diptych.verbs import kinds
from diptych.verbs.arguments import argument
from diptych.verbs.declare import Verb
from diptych.verbs.kinds import Kind
from diptych.verbs.reads import needs

if TYPE_CHECKING:
    from diptych.core import Backbone

OTHER_MODEL = Kind(str | None)
"""A model by its name; in Python also a loaded one."""


def several(value: Any) -> tuple[Any, ...]:
    """Return no data set, one or several as a tuple."""
    return () if value is None else tuple(value) if isinstance(value, (list, tuple)) else (value,)


DATA_SETS = Kind(str | None, None, several, kinds.words)
"""Data sets: paths with commas between; in Python one that ``open_data`` takes, or a list."""


@dataclass(frozen=True, kw_only=True)
class Fitting(Verb):
    """What learns, and for how long."""

    parts: str = argument(
        "Parts to train; heads learn on frozen towers, in minutes on a CPU.", default="all",
        range=one_of("all", "heads", "image", "text"),
    )  # fmt: skip
    also: Any = argument(
        "Other labelled data, measured before and after, to show what is forgotten.", DATA_SETS, (),
        flag="--eval-data",
    )  # fmt: skip
    captions: str = argument(
        'Column of captions, a pattern such as "caption_*", or several with commas; of tars, fields of JSON.',
        default="",
    )
    lr: float | None = argument("Learning rate (default: 1e-5, and 3e-4 for heads).", default=None, range=at_least(0))
    epochs: int = argument("Passes over the training rows.", default=5, range=at_least(1))
    train_batch: int = argument("Batch size: rows in one step.", default=64, range=at_least(2))
    decay: float = argument("Weight decay.", default=0.0, flag="--weight-decay", range=at_least(0))

    def rate(self, *, scratch: bool = False) -> float:
        """Return the learning rate, by default that of the parts that learn.

        Raises:
            UsageError: heads on random towers.
        """
        from diptych.tasks.training.fits import rate_for

        usual = rate_for(self.parts, scratch=scratch)
        return usual if self.lr is None else self.lr


@dataclass(frozen=True, kw_only=True)
class PartNames(Verb):
    """What some systems of ``pretrain`` need beside a model, and what no default is for."""

    regions: str | Path | None = argument(
        "A table with a box and a phrase in each row, for systems that read regions.", kinds.FOLDER, None,
        reads=lambda system: "boxes" in system.card.needs.columns,
    )  # fmt: skip
    rewrites: str | Path | None = argument(
        "Rewritten captions, for systems that draw among them: a .json pool or recorded .jsonl.", kinds.FILE, None,
        reads=needs("Writer"),
    )  # fmt: skip
    scorer: str | Backbone | None = argument(
        "Backbone that scores captions, for systems that choose them (default: its own).", OTHER_MODEL, None,
        reads=lambda system: "Backbone" in system.card.needs.optional_parts,
    )  # fmt: skip
    teacher: str | Backbone | None = argument(
        "Backbone that teaches, for systems that distil one into another.", OTHER_MODEL, None,
        reads=lambda system: "Backbone" in system.card.needs.parts or hasattr(system, "distil"),
    )  # fmt: skip
    language_model: str | None = argument(
        "Language model that reads the texts, for systems with such a text tower: smollm2, hf:org/name, a folder.",
        default=None, reads=needs("TokenStates"),
    )  # fmt: skip
    proposer: str | None = argument(
        "Finds regions where the data have none: merged-cells, or a detector or mask model of transformers.",
        default=None, reads=needs("MaskProposer"),
    )  # fmt: skip

    def named(self) -> dict[str, Any]:
        """Return the parts that are loaded by a name, as ``tasks.training.named_parts`` takes them."""
        names: Sequence[str] = ("rewrites", "scorer", "teacher", "language_model", "proposer")
        return {name: getattr(self, name) for name in names}
