"""A backbone whose image encoder is replaced, so that every classifier and index works on other samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from diptych.core import Around, Backbone, Encoder, MissingHook, Run, Samples, Spec, Tower


class DerivedSpace(Around):
    """The space of a backbone, whose "image" encoder takes clips, point clouds or other samples.

    Args:
        base: the space of photos and texts.
        text: encoder of texts; None: the base's.
        module: the trained parts, in eval mode; None: the base's module.
    """

    def __init__(
        self,
        base: Backbone,
        image: Encoder[Any],
        text: Encoder[Any] | None = None,
        suffix: str = "derived",
        module: nn.Module | None = None,
    ) -> None:
        super().__init__(base, {"image": image, "text": text or base.text})
        self._suffix, self._module = suffix, module

    @property
    def spec(self) -> Spec:
        """The specification of the base, whose name has the suffix."""
        return replace(self.base.spec, name=f"{self.base.spec.name}+{self._suffix}")

    def module(self) -> nn.Module:
        """Return the trained parts, or the base's module."""
        return self.base.module() if self._module is None else self._module

    def tower(self, modality: str) -> Tower:
        """Return the base's text tower.

        Raises:
            MissingHook: the modality is "image", since a sample takes several passes through the image tower.
        """
        if modality == "image":
            raise MissingHook(
                f"{self.spec.name} has no image tower: a {self.image.modality} takes several passes through it. Use "
                f"the tower of its base."
            )
        return self.base.tower(modality)


class ConditionedSpace(DerivedSpace):
    """A space whose texts may depend on the sample: the place of systems that no two vectors describe.

    ``encoders`` give the embeddings without that, for indexes; whoever compares samples with texts asks ``cosines``.
    """

    @abstractmethod
    def cosines(self, items: Samples[Any], texts: Sequence[str], run: Run) -> Tensor:
        """Return the (N, K) cosines of samples with texts, each conditioned on the sample."""
