"""What our own routes answer, for ``/openapi.json``: the JSON of the commands of the same names.

Its keys and types are declared once, by typed dictionaries beside what writes it.
"""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import typing_extensions

from diptych.core.errors import SkippedRow
from diptych.tasks.caption import CaptionsRow
from diptych.tasks.classified import LabelledRow
from diptych.tasks.detect import AnomalyScoreRow
from diptych.tasks.label_maps.segmented import RegionsRow
from diptych.tasks.search.ask import SearchFacts
from diptych.verbs.caption import CaptionFacts
from diptych.verbs.detect import DetectFacts
from diptych.verbs.label_maps import SegmentFacts
from diptych.verbs.predictions import ClassifyFacts


@cache
def described(kind: Any) -> Any:
    """Return a type with its typed dictionaries as those that pydantic reads, which before Python 3.12 are others; a
    row of a result is named without its ending "Row".
    """
    if is_typeddict(kind):
        return dictionary(kind.__name__.removesuffix("Row"), kind, get_type_hints(kind, include_extras=True))
    origin, parts = get_origin(kind), tuple(map(described, get_args(kind)))
    if not parts or origin is Literal:
        return kind
    if origin is UnionType:
        return Union[parts]
    return origin[parts if len(parts) > 1 else parts[0]]


def dictionary(name: str, kind: Any, fields: dict[str, Any]) -> Any:
    """Return a typed dictionary of these fields, with the documentation of another one."""
    make: Any = typing_extensions.TypedDict
    form = make(name, {key: described(value) for key, value in fields.items()})
    form.__doc__ = kind.__doc__
    return form


def answer_form(name: str, facts: Any, **rows: Any) -> Any:
    """Return the form of an answer: its facts, its remarks, and its rows with what was skipped, where facts have none.

    Args:
        name: of the form.
        facts: typed dictionary of what the answer says of all rows.
        rows: name of the list of rows -> typed dictionary of one row.
    """
    every: Any = list  # of rows that no type checker knows
    listed = {key: every[row] for key, row in {**rows, **({"skipped": SkippedRow} if rows else {})}.items()}
    return dictionary(name, facts, {**listed, **get_type_hints(facts, include_extras=True), "remarks": list[str]})


ClassifyAnswer = answer_form("ClassifyAnswer", ClassifyFacts, predictions=LabelledRow)
SearchAnswer = answer_form("SearchAnswer", SearchFacts)
SegmentAnswer = answer_form("SegmentAnswer", SegmentFacts, photos=RegionsRow)
DetectAnswer = answer_form("DetectAnswer", DetectFacts, photos=AnomalyScoreRow)
CaptionAnswer = answer_form("CaptionAnswer", CaptionFacts, photos=CaptionsRow)
