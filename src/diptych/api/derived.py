"""The verbs as functions, derived from their declarations; the stub beside this file is for editors and mypy."""

from __future__ import annotations

from diptych.api.declared import function
from diptych.verbs.detect import Detect
from diptych.verbs.segment import Segment

detect = function(Detect)
segment = function(Segment)
