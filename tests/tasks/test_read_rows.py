"""Rows remember what could not be read; what is computed from them does not."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.core import UnreadableItem, UsageError
from diptych.tasks.read_rows import ReadRows, check_on_error, read_rows


def test_rows_remember_what_could_not_be_read() -> None:
    lost = UnreadableItem("lost.jpg", "gone")
    rows = read_rows(np.array(["a", "b"]), np.array([0, 2]), [lost], ReadRows)
    assert (rows.tolist(), rows.kept.tolist(), rows.failed) == (["a", "b"], [0, 2], (lost,))
    assert rows[:1].failed == ()
    assert type(read_rows(np.zeros((2, 3)), np.arange(2), (), ReadRows) + 1) is np.ndarray


def test_other_values_are_refused() -> None:
    check_on_error("skip")
    with pytest.raises(UsageError, match="on_error is 'raise' or 'skip', not 'ignore'"):
        check_on_error("ignore")
