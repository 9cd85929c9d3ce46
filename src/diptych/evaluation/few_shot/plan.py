"""What a board runs: systems, shots, seeds and limits, and one run of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from diptych.core import Classifier, UsageError
from diptych.data.splits import ValRule
from diptych.evaluation.schedule import Limits

if TYPE_CHECKING:  # it brings torch, which a board that is answered from its file does not need
    from diptych.evaluation.arms import Loaded

PAGE, MODEL = "report.html", "model"
"""The page, and the folder of the exported system, in that of a board."""


FIXED = "no val"
"""Row of a card whose settings are fixed for all data sets."""


@dataclass(frozen=True)
class Plan:
    """What a board runs.

    Args:
        methods: slugs; None: all systems of the verb "classify".
        shots: shots per class.
        seeds: of the draws and of everything a system draws.
        val: "coop" chooses on min(shots, 4) val items per class, "full" on all of them; "none" shows val to no system,
            and those that choose settings there have fixed ones (the row "no val" of their cards) or are left out.
        budget: seconds for the whole board, encoding included: then no run begins and the running one is stopped. None:
            no end. The zero-shot rows, which all others are measured against, are always run.
        timeout: seconds that all runs of one system with one set of parameters may take together; None: no end.
        settings: of systems, one line each: "tip-adapter-f.epochs=100".
    """

    methods: tuple[str, ...] | None = None
    shots: tuple[int, ...] = (1, 4, 16)
    seeds: tuple[int, ...] = (1, 2, 3)
    val: ValRule | Literal["none"] = "coop"
    budget: float | None = None
    timeout: float | None = None
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.val not in ("coop", "full", "none"):
            raise UsageError(f"{self.val!r} is no rule for val: choose 'coop', 'full' or 'none'.")
        Limits(self.budget, self.timeout)
        if not self.shots or min(self.shots) < 1:
            raise UsageError(f"{{shots}} must be whole numbers from 1, such as 1,4,16, got {_words(self.shots)}.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UsageError(f"{{seeds}} must be different whole numbers, such as 1,2,3, got {_words(self.seeds)}.")

    @property
    def draws(self) -> ValRule:
        """The rule by which val items are drawn, whether systems see them or not."""
        return "coop" if self.val == "none" else self.val


@dataclass(frozen=True)
class Job:
    """One run of one system.

    Args:
        variant: its row on the board.
        shots: 0 where it sees no labels.
        seed: 0 where it draws nothing.
        loaded: what is measured instead of fitting; None: the system is fitted.
    """

    method: Classifier
    variant: str
    shots: int
    seed: int
    loaded: Loaded | None = None

    @classmethod
    def of_loaded(cls, loaded: Loaded) -> Job:
        """Return the one run of a classifier that was read from a folder: it draws nothing."""
        return cls(loaded.about.system, "", 0, 0, loaded)

    @property
    def folder(self) -> str:
        """The folder that it was read from; "" where the system is fitted."""
        return self.loaded.folder if self.loaded else ""

    @property
    def draws(self) -> bool:
        """Whether its seed decides what it sees."""
        return self.shots > 0 or self.pooled

    @property
    def pooled(self) -> bool:
        """Whether it learns from images without labels."""
        return self.loaded is None and "unlabelled" in self.method.card.needs.evidence

    @property
    def label(self) -> str:
        """What the row is called."""
        source = f"loaded from {self.folder}" if self.folder else ""
        return ", ".join(filter(None, (self.method.card.name, self.variant, source)))


def _words(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers)) or "none"
