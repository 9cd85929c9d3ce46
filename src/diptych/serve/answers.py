"""What our own routes answer, field by field, for ``/openapi.json``: the JSON of the commands of the same names.

A field with a default is left out where it was not asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field


@dataclass(frozen=True)
class Skipped:
    """A picture that was left out."""

    path: str
    reason: str


@dataclass(frozen=True)
class Label:
    """A label and its probability, calibrated where a classifier of the server answers."""

    label: str
    probability: float


@dataclass(frozen=True)
class Reason:
    """A reason for the best label, and its weight."""

    text: str
    weight: float


@dataclass(frozen=True)
class Labelled:
    """Labels of a picture, the best first; its conformal set, and whether it is of none of the classes."""

    path: str
    labels: list[Label]
    set: list[str] | None = None
    unknown: bool | None = None
    reasons: list[Reason] | None = None


@dataclass(frozen=True)
class ClassifyAnswer:
    """Labels of all pictures, and how they were found; the last six fields come from a calibrated classifier."""

    predictions: list[Labelled]
    skipped: list[Skipped]
    backbone: str
    method: str
    score: str
    threshold: float | None
    classnames: list[str]
    templates: list[str]
    template_hash: str
    seconds: dict[str, float]
    settings: dict[str, str]
    remarks: list[str]
    model: str | None = None
    temperature: float | None = None
    calibration_items: int | None = None
    seen_by_fit: bool | None = None
    sets: float | None = None
    unknown_rate: float | None = None


@dataclass(frozen=True)
class Entry:
    """An entry of an index; "right" is the probability that it is right, where the answers were cut."""

    path: str
    score: float
    caption: str | None
    metadata: dict[str, Any]
    right: float | None = None


@dataclass(frozen=True)
class QueryPart:
    """A part of a query."""

    value: str
    weight: float
    kind: Literal["image", "text"]


@dataclass(frozen=True)
class CutAnswer:
    """The cut: the wanted share of right answers, the expected one with its 95 % interval, the marks behind it, the
    depth below which nothing is stated, and the share of absent words that have an answer.
    """

    level: float
    threshold: float
    share: float
    above: int
    marks: int
    queries: int
    depth: int
    absent: float | None
    words: int
    interval: list[float]
    source: str


@dataclass(frozen=True)
class SearchAnswer:
    """Entries, the nearest first; where they were cut, whether nothing in the index looks like the query."""

    results: list[Entry]
    query: list[QueryPart]
    weights: dict[str, float]
    where: list[str]
    index: str
    entries: int
    backbone: str
    exact: bool
    recall_at_10: Annotated[dict[str, float] | None, Field(alias="recall@10")]
    remarks: list[str]
    cut: CutAnswer | None = None
    nothing_here: bool | None = None


@dataclass(frozen=True)
class Area:
    """Share of a picture that a label has."""

    label: str
    value: int
    area: float
    confidence: float | None = None


@dataclass(frozen=True)
class Segment:
    """A segment of a panoptic map; its box is left, top, width and height in pixels."""

    id: int
    label: str
    value: int
    thing: bool
    score: float
    area: int
    bbox: list[float]


@dataclass(frozen=True)
class Regions:
    """Shares of labels, and the label map as PNG in base64."""

    path: str
    width: int
    height: int
    areas: list[Area]
    unknown: float | None = None
    segments: list[Segment] | None = None
    mask: str | None = None


@dataclass(frozen=True)
class SegmentAnswer:
    """Regions of all pictures, and what was asked."""

    photos: list[Regions]
    classnames: list[str]
    method: str
    settings: dict[str, Any]
    backbone: str
    templates: list[str]
    background: list[str]
    threshold: float | None
    unknown: float | None
    things: list[str]
    images_per_second: float
    skipped: list[Skipped]
    remarks: list[str]


@dataclass(frozen=True)
class AnomalyScore:
    """Anomaly score; "normal_share" is how often a normal picture scores as high."""

    path: str
    score: float
    flagged: bool | None
    normal_share: float | None


@dataclass(frozen=True)
class DetectAnswer:
    """Anomaly scores of all pictures; those above the threshold are flagged."""

    photos: list[AnomalyScore]
    threshold: float | None
    backbone: str
    method: str
    object: str | None
    false_alarm_rate: float | None
    seed: int
    settings: dict[str, Any]
    normal: dict[str, Any]
    map_span: list[float]
    skipped: list[Skipped]
    remarks: list[str]
    labelled: dict[str, Any] | None = None


@dataclass(frozen=True)
class Captions:
    """Captions of a picture, the best first; whether the best fits, where that was calibrated."""

    path: str
    captions: list[str]
    fits: bool | None


@dataclass(frozen=True)
class CaptionAnswer:
    """Captions of all pictures."""

    fit: dict[str, Any] | None
    photos: list[Captions]
    metrics: dict[str, float]
    judge: str | None
    method: str
    variant: str
    settings: dict[str, Any]
    user: str | None
    backbone: str
    seed: int
    remarks: list[str]
    skipped: list[Skipped] = field(default_factory=list)
    cut_sentences: int = 0
