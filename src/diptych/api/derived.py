"""The verbs as functions, derived from their declarations; the stub beside this file is for editors and mypy."""

from __future__ import annotations

from diptych.api.declared import function
from diptych.verbs.caption import Caption
from diptych.verbs.classify import Classify
from diptych.verbs.detect import Detect
from diptych.verbs.edit import Edit
from diptych.verbs.generate import Generate
from diptych.verbs.rewrite import Rewrite
from diptych.verbs.segment import Segment

caption = function(Caption)
classify = function(Classify)
detect = function(Detect)
edit = function(Edit)
generate = function(Generate)
rewrite = function(Rewrite)
segment = function(Segment)
