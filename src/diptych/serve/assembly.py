"""A server from its parts: which routes there are, and what stands behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diptych.features.artefacts import Read
from diptych.serve.answers import CaptionAnswer, DetectAnswer, SegmentAnswer
from diptych.serve.app import application
from diptych.serve.declared import Declared
from diptych.serve.model import ServedModel
from diptych.serve.pages.routes import Page
from diptych.serve.protocols import cohere, health, huggingface, immich, openai, predict, rerank, weaviate
from diptych.serve.protocols.label_studio import LabelStudio
from diptych.serve.service import Service
from diptych.serve.settings import Settings
from diptych.serve.verbs.classify import Classify
from diptych.serve.verbs.regions import Regions
from diptych.serve.verbs.search import Search, ServedIndex
from diptych.tasks.detect import Ready
from diptych.tasks.model import Predictor
from diptych.verbs.caption import Caption
from diptych.verbs.detect import Detect
from diptych.verbs.segment import Segment


@dataclass(frozen=True)
class Content:
    """What a server answers with; all of it is loaded at the start, and nothing by a request.

    Args:
        models: at least one; the first answers where a client names none.
        indexes: name -> index.
        classifiers: name -> a classifier that was exported.
        detectors: name -> a detector that was fitted on normal photos.
        segmenters: name -> a segmenter that was kept in a folder.
        captioners: the same of captioners.
        sentences: captions to choose from.
        reports: name -> a page that a verb wrote.
    """

    models: Sequence[ServedModel]
    indexes: Mapping[str, ServedIndex] = field(default_factory=dict)
    classifiers: Mapping[str, Predictor] = field(default_factory=dict)
    detectors: Mapping[str, Ready] = field(default_factory=dict)
    segmenters: Mapping[str, Read] = field(default_factory=dict)
    captioners: Mapping[str, Read] = field(default_factory=dict)
    sentences: Sequence[str] = ()
    reports: Mapping[str, Path] = field(default_factory=dict)


def server(settings: Settings, content: Content) -> Any:
    """Return the ASGI application of a server.

    Raises:
        UsageError: there is no model.
    """
    service = Service(settings, content.models)
    classify = Classify(service, content.classifiers)
    regions = Regions(service)
    label_studio = LabelStudio(service, classify, regions)
    search = Search(service, content.indexes)
    segment = Declared(service, Segment, SegmentAnswer, {"segmenter": content.segmenters})
    routes = (
        health.router(service),
        openai.router(service),
        cohere.router(service),
        rerank.router(service),
        classify.router(),
        search.router(),
        segment.router(),
        Declared(service, Detect, DetectAnswer, {"detector": content.detectors}).router(),
        Declared(
            service,
            Caption,
            CaptionAnswer,
            {"captioner": content.captioners},
            defaults={"texts": content.sentences, "rate": None},
        ).router(),
        label_studio.router(),
        immich.router(service),
        predict.router(service, label_studio),
        weaviate.router(service),
        huggingface.router(service, classify, segment, list(content.segmenters)),
        Page(service, search, content.reports).router(),
    )
    return application(service, routes)
