"""Gives an exam an answer that its system never gave."""

from __future__ import annotations

from typing import Any

from diptych.testing.exam import Exam, Fitting


def answered(exam: Exam, answer: Any, fitted: Any = None, *, touched: Any = (), written: Any = ()) -> Exam:
    """The exam as if its system had fitted and answered so."""
    vars(exam)["first"] = vars(exam)["second"] = Fitting(fitted, answer, tuple(touched), tuple(written))
    return exam
