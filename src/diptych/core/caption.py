"""The role of ``caption``: from images to texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from diptych.core.data import Evidence, Samples, Text
from diptych.core.errors import UsageError
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

    def for_user(self, user: str) -> FittedCaptioner:
        """Return the same fitted captioner, which writes as a user does whose history was in the evidence.

        Raises:
            UsageError: it writes for nobody in particular, or the evidence held nothing of this user.
        """
        raise UsageError(f"{type(self).__name__.removeprefix('Fitted')} has no users to imitate: leave the user out.")


class Captioner(Method):
    """Role of ``caption``: from texts, or images with texts, to captions of new images.

    ``evidence.texts`` are sentences alone. ``evidence.train`` are images with a column "captions", the references of
    each, and perhaps a column "user": who wrote them. The rows of a user, in the order of the table, are that user's
    history.

    Attributes:
        personal: whether what it fits has users, see ``FittedCaptioner.for_user``.
    """

    verb = "caption"
    personal: ClassVar[bool] = False

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedCaptioner:
        """Fit on the evidence.

        Raises:
            MissingPart: the kit lacks a part.
            MissingHook: the backbone lacks a hook that the system needs.
            MissingEvidence: a needed field of the evidence is missing.
        """
