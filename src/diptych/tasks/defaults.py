"""The systems that verbs run where none is named. Loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from diptych.core import Method

M = TypeVar("M", bound="Method")

DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        "classify": "zero-shot",
        "segment": "maskclip",
        "segment cells": "stuff-context",
        "detect": "feature-memory",
        "detect words": "winclip-style",
        "caption": "nearest-caption",
        "edit": "deltaedit:small",
        "rewrite": "uf-fgtg:small",
        "link": "clippings:mean",
        "link labelled": "clippings:maps",
        "curate": "metaclip",
        "curate scores": "clip-score",
        "curate labels": "biomedica",
        "curate slides": "pathgen",
        "curate duplicates": "semdedup",
        "curate head": "vector-head",
        "curate texts": "caption-checks",
        "extend clips": "vifi-clip",
        "extend clouds": "clip2point",
        "extend stars": "astrom3",
        "untrained clips": "frame-mean",
        "untrained clouds": "clip2point",
        "head": "linear-probe",
        "audit association": "concept-association-bias",
        "audit blind": "mmvp",
        "audit edits": "augclip",
        "audit groups": "counteranimal",
        "audit pairs": "clip4dm",
        "audit sources": "quality-not-quantity",
        "audit robustness": "holistic-robustness",
        "audit shortcuts": "shortcut-learning",
        "finetune": "wise-ft",
        "pretrain": "clip-loss",
    }
)
"""Verb -> slug, or slug:row for a row of its card.

A second word is the case of a verb with several defaults:

- "segment cells": the backbone has no image tower, but a map of cells.
- "detect words": there are words for what the photos show.
- "link labelled": there are labelled pairs.
- "curate ...": what is scored: scores of pairs, labels of clusters, slides, duplicates, a head on vectors, or texts.
- "head": a linear head on vectors, whose weights were fitted by a task.
- "audit ...": one audit of those that ``diptych audit`` has.
- "extend ...", "untrained ...": what learns from labelled samples of a modality, and what takes class names alone.
"""
DEMO = (DEFAULTS["classify"], DEFAULTS["head"], "tip-adapter", "tip-adapter-f", "gda")
"""What the demo compares: systems that need nothing but photos and names, and end in minutes."""


def slug_and_row(verb: str) -> tuple[str, str]:
    """Return the slug and the row of a default, "" for the first row.

    Example:
        >>> slug_and_row("edit")
        ('deltaedit', 'small')
    """
    slug, _, row = DEFAULTS[verb].partition(":")
    return slug, row


def default(verb: str, role: type[M], **settings: Any) -> M:
    """Return the default system of a verb: its row of the card, with some settings. Imports the system.

    Args:
        verb: key of ``DEFAULTS``.
        role: what the system must be, such as ``core.method.Classifier``.
        settings: of the system, in the place of the row's.

    Raises:
        KeyError: the verb has no default.
        UsageError: a setting is out of its range.
    """
    from diptych import catalog

    slug, row = slug_and_row(verb)
    system = catalog.find(slug, role)
    return system(**{**(system.card.variants[row] if row else {}), **settings})
