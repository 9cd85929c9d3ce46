"""The verbs as functions, derived from their declarations; the stub beside this file is for editors and mypy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diptych.api.curation import KNOWN, CuratedPairs, FittedHead, Planned
from diptych.api.declared import function, group, method
from diptych.api.embeddings import Embeddings
from diptych.api.photo_index import PhotoIndex
from diptych.api.space import FittedSpace
from diptych.verbs.audit.steps import AUDIT
from diptych.verbs.board.steps import BOARD
from diptych.verbs.caption import Caption
from diptych.verbs.classify import Classify
from diptych.verbs.curate.steps import CURATE
from diptych.verbs.detect import Detect
from diptych.verbs.edit import Edit
from diptych.verbs.encode import Encode
from diptych.verbs.export import Export
from diptych.verbs.extend import Extend
from diptych.verbs.generate import Generate
from diptych.verbs.index import IndexPhotos
from diptych.verbs.link import LinkTables
from diptych.verbs.recommend import Recommend
from diptych.verbs.rewrite import Rewrite
from diptych.verbs.search import Search
from diptych.verbs.segment import Segment
from diptych.verbs.train.finetune import Finetune
from diptych.verbs.train.pretrain import Pretrain

if TYPE_CHECKING:
    from diptych.api.call_context import CallContext
    from diptych.api.results import Results
    from diptych.tasks.training.tuned import Tuned
    from diptych.verbs.curate.apply import Applied
    from diptych.verbs.curate.head import Fitted
    from diptych.verbs.curate.plan import Planned as PlanAnswer
    from diptych.verbs.encode import Encoding
    from diptych.verbs.extend import Extension
    from diptych.verbs.index_report import IndexReport
    from diptych.verbs.train.trained import Trained


def _embeddings(answer: Encoding, results: Results[Any], context: CallContext) -> Embeddings:
    """Return the vectors of an answer, from the file where they were written."""
    from diptych.tasks.encode.write import Embedded, read_embedded

    encoded, out = answer.result, context.out
    if not isinstance(encoded, Embedded):
        encoded = read_embedded(encoded.out, encoded)
    names, *more = encoded.columns
    columns = {name: encoded.columns[name] for name in more}
    attributes = {"failed": results.failed, "out": out, "remarks": results.remarks, "_facts": results.data}
    return Embeddings.of(encoded.values, {"names": tuple(encoded.columns[names]), "columns": columns, **attributes})


def _index(answer: IndexReport, results: Results[Any], context: CallContext) -> PhotoIndex:
    """Return the index, which keeps the model for its searches."""
    return PhotoIndex(
        answer.folder, results.data, results.failed, results.remarks, context.given, search,
        temporary=context.out is None,
    )  # fmt: skip


def _planned(answer: PlanAnswer, results: Results[Any], context: CallContext) -> CurationPlan:
    """Return the plan, which keeps what a second pass is asked too."""
    return CurationPlan(answer, results, context.given, temporary=context.out is None)


def _applied(answer: Applied, results: Results[Any], context: CallContext) -> CuratedPairs:
    """Return where the kept pairs lie."""
    return CuratedPairs(answer, results)


def _head(answer: Fitted, results: Results[Any], context: CallContext) -> FittedHead:
    """Return the head, and the file where it was written."""
    return FittedHead(context.out, answer, results)


def _space(answer: Extension, results: Results[Any], context: CallContext) -> FittedSpace:
    """Return the space, with what was measured of it."""
    from diptych.tasks.space_classifier import NamingSpace

    lines = tuple(answer.result.lines(answer.system))
    space = NamingSpace(answer.result.classifier, context.out)
    return FittedSpace(space, answer.run, results.data, lines, results.failed, results.remarks)


def _tuned(answer: Trained, results: Results[Any], context: CallContext) -> Tuned:
    """Return the trained model, with what was measured of it."""
    return answer.tuned


audit: Any = group(AUDIT, {})
board: Any = group(BOARD, {})
caption = function(Caption)
classify = function(Classify)
curate: Any = group(CURATE, {"plan": _planned, "apply": _applied, "head": _head})
detect = function(Detect)
edit = function(Edit)
encode = function(Encode, _embeddings)
export = function(Export)
extend = function(Extend, _space)
finetune = function(Finetune, _tuned)
generate = function(Generate)
index = function(IndexPhotos, _index)
link = function(LinkTables)
pretrain = function(Pretrain, _tuned)
recommend = function(Recommend)
rewrite = function(Rewrite)
search = function(Search)
segment = function(Segment)


class CurationPlan(Planned):
    """A plan over a pool of pairs, which chooses from this pool. It keeps the system, its settings and the model."""

    apply = method(curate.apply, Planned.second_pass, *KNOWN)
    looks = method(curate.looks, Planned.origin, "plan", "method")
