"""What Label Studio's routes answer, field by field, for ``/openapi.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Value:
    """Choices of a picture; a mask as run lengths; or a box, in percent of the picture, turned by ``rotation``."""

    choices: list[str] | None = None
    format: Literal["rle"] | None = None
    rle: list[int] | None = None
    brushlabels: list[str] | None = None
    rectanglelabels: list[str] | None = None
    x: float | None = None
    y: float | None = None
    width: float | None = None
    height: float | None = None
    rotation: float | None = None


@dataclass(frozen=True)
class Result:
    """What one control of the labelling interface gets."""

    from_name: str
    to_name: str
    type: Literal["choices", "brushlabels", "rectanglelabels"]
    value: Value
    score: float
    original_width: int | None = None
    original_height: int | None = None
    image_rotation: int | None = None


@dataclass(frozen=True)
class Prediction:
    """Results of a task."""

    model_version: str
    result: list[Result]
    score: float


@dataclass(frozen=True)
class PredictAnswer:
    """Predictions, one a task."""

    results: list[Prediction]


@dataclass(frozen=True)
class SetupAnswer:
    """Name of the model."""

    model_version: str


@dataclass(frozen=True)
class Learnt:
    """Whether an annotation was learnt."""

    learnt: bool


@dataclass(frozen=True)
class WebhookAnswer:
    """What became of an event."""

    result: Learnt
    status: str
