"""A copy of a backbone with weights of its own."""

from __future__ import annotations

import copy

from diptych.core import Backbone


def twin_of(backbone: Backbone) -> Backbone:
    """Return a copy of a backbone, which training may change while the backbone stays as it is.

    Raises:
        MissingHook: the backbone cannot be rebuilt.
    """
    twin = backbone.rebuild(copy.deepcopy(backbone.module()), backbone.spec)
    assert isinstance(twin, Backbone)  # rebuild keeps the kind
    return twin
