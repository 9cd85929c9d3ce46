"""The role of ``caption``: from images to texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from diptych.core.data import Evidence, Samples, Text
from diptych.core.kit import Kit
from diptych.core.method import Method
from diptych.core.run import Run


class FittedCaptioner(ABC):
    """What ``Captioner.fit`` returns: a frozen dataclass that holds tensors, plain values and the ``backbone``."""

    @abstractmethod
    def caption(self, images: Samples[Any], run: Run, *, n: int = 1) -> list[list[Text]]:
        """Return at most ``n`` captions of each image, the best first.

        A caption depends on the image, its content key and the seed, and not on the other images.

        Raises:
            UnreadableItem: an image cannot be read.
        """


class Captioner(Method):
    """Role of ``caption``: from texts, and perhaps images with texts, to captions of new images."""

    verb = "caption"

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedCaptioner:
        """Fit on the evidence.

        Raises:
            MissingPart: the kit lacks a part.
            MissingHook: the backbone lacks a hook that the system needs.
            MissingEvidence: a needed field of the evidence is missing.
        """
