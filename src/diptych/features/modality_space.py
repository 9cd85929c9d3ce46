"""A space seen as a backbone: one of its modalities in the place of photos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

from torch import Tensor, nn

from diptych.backbones.module_backbone import StatedSpace
from diptych.core import Backbone, DataError, Encoder, Inputs, MissingHook, Space, Tower, UsageError
from diptych.data.modalities import Modality


@dataclass(frozen=True, eq=False)
class NoTexts:
    """The encoder of texts of a space that has none.

    Args:
        dim: width D of the other encoder.
        title: of the samples, for errors.
    """

    dim: int
    title: str
    fingerprint: str = "none"
    modality: str = "text"
    size: int | None = None

    def inputs(self, items: Any, size: int | None = None) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(
            f"Words and photos share no space with {self.title}: ask with one of them, such as CURVES.csv[NAME] or a "
            f"file."
        )

    def encode(self, x: Inputs, /) -> NoReturn:
        """Raise UsageError."""
        self.inputs(x)


class ModalitySpace(StatedSpace, Backbone):
    """A space whose "image" encoder is that of another modality, so that classifiers and indexes take its samples.

    Args:
        space: with an encoder of the modality, see ``encoder_key``.
        modality: of the samples.
        name: of this space in indexes and results; "": that of the space.

    Raises:
        DataError: the space has no encoder of the modality.
    """

    def __init__(self, space: Space, modality: Modality, name: str = "") -> None:
        self.space, self.modality, self._key = space, modality, encoder_key(space, modality)
        image = space.encoders[self._key]
        text: Encoder[Any] = space.encoders.get("text") or NoTexts(image.dim, modality.title)
        self._encoders = {"image": image, "text": text}
        self._spec = replace(space.spec, name=name or space.spec.name, dim=image.dim)

    @property
    def score(self) -> Literal["softmax", "sigmoid"]:
        """The score of the space."""
        return self.space.activation

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return (scale, bias) of the space for its modality and texts.

        Raises:
            MissingHook: the space has no texts.
        """
        if "text" not in self.space.encoders:
            raise MissingHook(f"{self.spec.name} has no scale: words share no space with {self.modality.title}.")
        return self.space.scale(*(self._key if name == "image" else name for name in (a, b)))

    def module(self) -> nn.Module:
        """Return the module of the space."""
        return self.space.module()

    def tower(self, modality: str) -> Tower:
        """Return a tower of the space."""
        return self.space.tower(self._key if modality == "image" else modality)


def encoder_key(space: Space, modality: Modality) -> str:
    """Return the key in ``space.encoders`` of the encoder that takes the samples of a modality.

    Raises:
        DataError: there is none.
    """
    if modality.encoder in space.encoders:
        return modality.encoder
    for key, encoder in space.encoders.items():
        if encoder.modality == modality.encoder:
            return key
    raise DataError(
        f"{space.spec.name} has no encoder of {modality.title}, only of "
        f"{', '.join(e.modality for e in space.encoders.values())}: fit a system of {modality.name}."
    )
