"""The verbs as functions, derived from their declarations; the stub beside this file is for editors and mypy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diptych.api.declared import function
from diptych.api.embeddings import Embeddings
from diptych.api.photo_index import PhotoIndex
from diptych.api.space import FittedSpace
from diptych.verbs.caption import Caption
from diptych.verbs.classify import Classify
from diptych.verbs.detect import Detect
from diptych.verbs.edit import Edit
from diptych.verbs.encode import Encode
from diptych.verbs.export import Export
from diptych.verbs.extend import Extend
from diptych.verbs.generate import Generate
from diptych.verbs.index import IndexPhotos
from diptych.verbs.link import LinkTables
from diptych.verbs.rewrite import Rewrite
from diptych.verbs.search import Search
from diptych.verbs.segment import Segment

if TYPE_CHECKING:
    from diptych.api.declared import CallContext
    from diptych.api.results import Results
    from diptych.verbs.encode import Encoding
    from diptych.verbs.extend import Extension
    from diptych.verbs.generate import Generate
from diptych.verbs.index import Taken


def _embeddings(answer: Encoding, results: Results[Any], context: CallContext) -> Embeddings:
    """Return the vectors of an answer, from the file where they were written."""
    from diptych.tasks.encode.write import Embedded, read_embedded

    made, out = answer.result, context.out
    if not isinstance(made, Embedded):
        made = read_embedded(made.out, made)
    names, *more = made.columns
    return Embeddings(
        made.values, tuple(made.columns[names]), {name: made.columns[name] for name in more}, results.data,
        results.failed, out, results.remarks,
    )  # fmt: skip


def _index(answer: Taken, results: Results[Any], context: CallContext) -> PhotoIndex:
    """Return the index, which keeps the model for its searches."""
    return PhotoIndex(
        answer.folder, results.data, results.failed, results.remarks, context.given, search,
        temporary=context.out is None,
    )  # fmt: skip


def _space(answer: Extension, results: Results[Any], context: CallContext) -> FittedSpace:
    """Return the space, with what was measured of it."""
    from diptych.tasks.space_classifier import NamingSpace

    lines = tuple(answer.result.lines(answer.system))
    space = NamingSpace(answer.result.classifier, context.out)
    return FittedSpace(space, answer.run, results.data, lines, results.failed, results.remarks)


caption = function(Caption)
classify = function(Classify)
detect = function(Detect)
edit = function(Edit)
encode = function(Encode, _embeddings)
export = function(Export)
extend = function(Extend, _space)
generate = function(Generate)
index = function(IndexPhotos, _index)
link = function(LinkTables)
rewrite = function(Rewrite)
search = function(Search)
segment = function(Segment)
