"""Asks a system for every promise of its role."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from diptych.core import (
    Captioner,
    Classifier,
    Curator,
    Detector,
    Editor,
    Extender,
    Method,
    Retriever,
    Rewriter,
    Segmenter,
    UsageError,
    plugins,
)
from diptych.testing.exam import Exam
from diptych.testing.promise import ContractBroken
from diptych.testing.roles import audit, training
from diptych.testing.roles.caption import CaptionerExam
from diptych.testing.roles.classify import ClassifierExam
from diptych.testing.roles.curate import CuratorExam
from diptych.testing.roles.detect import DetectorExam
from diptych.testing.roles.edit import EditorExam
from diptych.testing.roles.extend import ExtenderExam
from diptych.testing.roles.retrieve import RetrieverExam
from diptych.testing.roles.rewrite import RewriterExam
from diptych.testing.roles.segment import SegmenterExam

EXAMS: Mapping[type[Any], type[Exam]] = {
    **training.EXAMS,
    Classifier: ClassifierExam,
    Segmenter: SegmenterExam,
    Detector: DetectorExam,
    Extender: ExtenderExam,
    Retriever: RetrieverExam,
    Editor: EditorExam,
    Captioner: CaptionerExam,
    Curator: CuratorExam,
    Rewriter: RewriterExam,
    **audit.EXAMS,
}
"""Role -> its exam; a system of two roles is asked as the first of them."""
Check = Callable[[], None]
_RECENT = 2
_recent: deque[Exam] = deque()
"""The exams whose fitted systems are in memory."""


def exams(
    system: type[Method],
    *,
    settings: Mapping[str, Any] | None = None,
    parts: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> list[Exam]:
    """Return an exam of each row of a system's card; see ``checks``.

    Raises:
        UsageError: it is no system of a role.
    """
    given: object = system  # whatever a caller gives
    kinds = [exam for role, exam in EXAMS.items() if isinstance(given, type) and issubclass(given, role)]
    if not kinds:
        raise UsageError(
            f"{getattr(system, '__name__', system)} is no system of a role: derive it from one of "
            f"{', '.join(role.__name__ for role in EXAMS)}."
        )
    return [kinds[0](system, row, settings, parts, device) for row in system.card.variants]


def checks(
    system: type[Method],
    *,
    settings: Mapping[str, Any] | None = None,
    parts: Mapping[str, Any] | None = None,
    device: str = "cpu",
    excused: Mapping[str, str] | None = None,
) -> list[tuple[str, Check]]:
    """Return the promises of a system as (name, function), each of which raises where the promise is broken.

    What is fitted is shared by the promises of one row, so they are quickest in this order.

    Args:
        system: class of any role, with a card.
        settings: arguments in place of those of a row, such as ``{"epochs": 1}``: a promise holds at any length.
        parts: parts of the kit, by name, in place of the small ones or for parts that there is no small one of.
        device: of the backbone and the run.
        excused: name of a promise -> the reason why it is not asked.

    Raises:
        UsageError: it is no system of a role, or an excused promise is none of its promises.

    Example:
        >>> from diptych.methods.classify.zero_shot import ZeroShot
        >>> names = [name for name, _ in checks(ZeroShot)]
        >>> names[:3]
        ['the_card_is_complete', 'parameters_are_frozen_and_documented', 'answers_as_its_role_says']
        >>> dict(checks(ZeroShot))["same_seed_same_bits"]()
    """
    named: list[tuple[str, Check]] = []
    for exam in exams(system, settings=settings, parts=parts, device=device):
        end = f"[{exam.variant}]" if exam.further else ""
        named += [(name + end, partial(_held, exam, promise)) for name, promise in exam.promises().items()]
    left = dict(excused or {})
    if unknown := left.keys() - {name for name, _ in named}:
        raise UsageError(f"{sorted(unknown)[0]!r} is no promise of {system.__name__}: see checks({system.__name__}).")
    return [(name, check) for name, check in named if name not in left]


def check_system(
    system: type[Method],
    *,
    settings: Mapping[str, Any] | None = None,
    parts: Mapping[str, Any] | None = None,
    device: str = "cpu",
    excused: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Ask a system for every promise that our own systems keep, on small generated data; see ``checks``.

    Returns:
        The names of the promises, all of which hold.

    Raises:
        ContractBroken: promises are broken; each is named, with what to do.
        UsageError: it is no system of a role, or an excused promise is none of its promises.

    Example:
        >>> from diptych.methods.classify.zero_shot import ZeroShot
        >>> "permuting_classes_permutes_columns" in check_system(ZeroShot)
        True
    """
    wanted = checks(system, settings=settings, parts=parts, device=device, excused=excused)
    broken: dict[str, Exception] = {}
    for name, check in wanted:
        try:
            check()
        except Exception as error:  # a promise may break in any way
            broken[name] = error
    if broken:
        lines = [f"{name}: {_message(error)}" for name, error in broken.items()]
        count = f"{len(broken)} of {len(wanted)} promises"
        raise ContractBroken("\n  ".join([f"{system.__name__} breaks {count}.", *lines])) from next(
            iter(broken.values())
        )
    return tuple(name for name, _ in wanted)


def _message(error: Exception) -> str:
    return str(error) if isinstance(error, ContractBroken) else f"{type(error).__name__}: {error}"


def _held(exam: Exam, promise: Check) -> None:
    """Ask for a promise, with the system found by its slug, and keep what was fitted of the last exams."""
    if exam not in _recent:
        _recent.append(exam)
        while len(_recent) > _RECENT:
            _recent.popleft().forget()
    with ExitStack() as stack:
        if not exam.system.__module__.startswith("diptych.methods."):
            stack.enter_context(plugins.installed(exam.system))
        promise()
