"""Errors and remarks spell arguments as Python does."""

from __future__ import annotations

import pytest

from diptych.api.spelling import spelled, warn
from diptych.core import DataError, UsageError


def test_errors_name_arguments_as_keywords() -> None:
    @spelled()
    def refuse(normal: int) -> None:
        raise DataError("Give {normal} some photos.")

    with pytest.raises(DataError, match=r"^Give normal= some photos\.$"):
        refuse(1)
    with pytest.raises(UsageError, match=r"^Leave out\.$"), spelled():
        raise UsageError("Leave out.")
    with pytest.raises(KeyboardInterrupt, match=r"^resume= goes on\.$"), spelled():
        raise KeyboardInterrupt("{resume} goes on.")
    with pytest.raises(KeyboardInterrupt, match=r"^$"), spelled():
        raise KeyboardInterrupt


def test_remarks_are_warnings() -> None:
    with pytest.warns(UserWarning, match="Raise rate= a little"):
        warn("Raise {rate} a little.")
