"""The changes by name, and the one function that applies them, in a training and again when a folder is loaded."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from typing import Any, Protocol

from torch import nn

from diptych.core import Change, DataError, Space, Spec, UsageError

CHANGES = {
    "activations": "diptych.backbones.changes.activations:stated",
    "caption-panel": "diptych.backbones.changes.caption_panel:added",
    "cls-and-patches": "diptych.backbones.changes.cls_and_patches:pooled",
    "experts": "diptych.backbones.changes.experts:mixed",
    "logit-bias": "diptych.backbones.changes.logit_bias:added",
    "region-slots": "diptych.backbones.changes.region_slots:decoded",
    "text-mixers": "diptych.backbones.changes.text_mixers:added",
    "text-positions": "diptych.backbones.changes.text_positions:longer",
}
"""Name of a change -> "module:function"; names are written to folders, so none is ever renamed."""


class Apply(Protocol):
    """A change of a module in place, by settings that JSON can hold."""

    def __call__(self, module: nn.Module, spec: Spec, **settings: Any) -> Spec:
        """Change the module, and return the spec with what differs, such as the context."""


def changed(space: Space, kind: str, **settings: Any) -> Space:
    """Return a copy of a space with a change of ``CHANGES``, which ``save`` and ``load`` know how to make again.

    Raises:
        UsageError: an unknown change.
        MissingHook: the change does not fit this architecture.
    """
    module = copy.deepcopy(space.module())
    return space.rebuild(module, apply(module, space.spec, [Change(kind, settings)]))


def apply(module: nn.Module, spec: Spec, changes: Iterable[Change]) -> Spec:
    """Apply changes to a module, in place and in order, and return the spec that names them.

    Raises:
        UsageError: an unknown change.
        DataError: settings that the change does not take.
        MissingHook: a change does not fit this architecture.
    """
    for change in changes:
        if change.kind not in CHANGES:
            raise UsageError(f"There is no change {change.kind!r} of an architecture: use {', '.join(CHANGES)}.")
        where, name = CHANGES[change.kind].split(":")
        function: Apply = getattr(import_module(where), name)
        try:
            spec = function(module, spec, **change.settings)
        except TypeError as error:
            raise DataError(f"The change {change.kind} does not take {dict(change.settings)}: {error}.") from error
        spec = replace(spec, changes=(*spec.changes, change))
    return spec
