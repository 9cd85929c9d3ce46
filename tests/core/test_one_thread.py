from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from diptych.core.one_thread import LARGE, one_thread


def threads() -> list[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return [library["num_threads"] for library in ThreadpoolController().info() if library["user_api"] == "blas"]


def test_small_products_have_one_thread_and_large_ones_all() -> None:
    with threadpool_limits(2):
        assert set(threads()) == {2}
        with one_thread(LARGE - 1):
            assert set(threads()) == {1}
        assert set(threads()) == {2}
        with one_thread(LARGE):
            assert set(threads()) == {2}


def test_threads_come_back_after_an_error() -> None:
    with threadpool_limits(2):
        with pytest.raises(ZeroDivisionError), one_thread(1):
            _ = 1 / 0
        assert set(threads()) == {2}
