"""Extenders of a modality: the one that is named, the default one, and the space that needs no training."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from diptych import catalog
from diptych.core import Backbone, Evidence, Extender, Kit, Run, UsageError
from diptych.data.modalities import Modality, modality
from diptych.tasks.defaults import DEFAULTS


def extender(name: str, **settings: Any) -> Extender:
    """Return an extender of the catalog, with the settings that it has among these.

    Args:
        name: slug, or "slug:row" for a row of its card.
        settings: "passes" is for the number of passes over labelled samples, whatever the system calls it. None leaves
            a setting as it is.

    Raises:
        UsageError: there is no such extender, it has no such row, or a setting is out of its range.
        MissingExtra: what it needs is not installed.
    """
    slug, _, row = name.partition(":")
    system = catalog.find(slug, Extender)
    known = {f.name for f in fields(system)}  # type: ignore[arg-type]  # methods are dataclasses
    passes = settings.pop("passes", None)
    given = {**settings, **({system.passes: passes} if system.passes else {})}
    given = {key: value for key, value in given.items() if value is not None and key in known}
    start = catalog.row(system, row) if row else system()
    method = replace(start, **{**({} if row else system.quick), **given})  # type: ignore[type-var]
    method.check_extras()
    return method


def extenders(samples: str) -> list[type[Extender]]:
    """Return the extenders of a modality: the default one first, then the others by slug."""
    first = DEFAULTS.get(f"extend {samples}", "")
    every = [catalog.find(c["slug"], Extender) for c in catalog.cards() if c["verb"] == Extender.verb]
    return sorted((e for e in every if e.samples == samples), key=lambda e: (e.card.slug != first, e.card.slug))


def default_extender(kind: Modality) -> str:
    """Return the slug of the system that learns from labelled samples of a modality where none is named.

    Raises:
        UsageError: no installed system takes them.
    """
    if f"extend {kind.name}" in DEFAULTS:
        return DEFAULTS[f"extend {kind.name}"]
    known = extenders(kind.name)
    if not known:
        raise UsageError(f"No installed system learns from {kind.title}: install the package that brings one.")
    return next((e for e in known if e.card.needs.evidence), known[0]).card.slug


def of_modality(name: str, kind: Modality, *, certain: bool = True) -> type[Extender]:
    """Return an extender that takes samples of a modality.

    Args:
        name: slug, or "slug:row".
        kind: what the data hold.
        certain: whether they hold nothing else; False takes an extender of another modality, which then opens them.

    Raises:
        UsageError: there is no such extender, or it takes other samples.
    """
    system = catalog.find(name.partition(":")[0], Extender)
    if certain and system.samples != kind.name:
        able = ", ".join(other.card.slug for other in extenders(kind.name)) or "none of those installed"
        raise UsageError(
            f"{system.card.slug} learns from {modality(system.samples).title}, and these are {kind.title}: take {able}."
        )
    return system


def untrained_space(samples: str, backbone: Backbone, run: Run, *, frames: int | None = None) -> Backbone:
    """Return a space of samples of a modality and texts that needs no training, in which class names are enough.

    Args:
        samples: name of the modality.
        backbone: of photos and texts.
        run: seed and device.
        frames: pictures of a clip; None: the system's default.

    Raises:
        UsageError: there is none for this modality.
    """
    kind = modality(samples)
    name = DEFAULTS.get(f"untrained {samples}") or next(
        (e.card.slug for e in extenders(samples) if e.card.needs.hooks and not e.card.needs.evidence), ""
    )
    if not name:
        raise UsageError(
            f"No backbone knows {kind.title} by the names of classes: run 'diptych extend' on some with classes, and "
            f"give its folder as the model."
        )
    space = extender(name, frames=frames).fit(Kit({"main": backbone}), Evidence(), run)
    assert isinstance(space, Backbone)
    return space
