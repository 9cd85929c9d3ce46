"""Proofs of audits."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from diptych.tasks.proofs.own import OwnTrial

TRIALS: Mapping[str, OwnTrial] = MappingProxyType({})
