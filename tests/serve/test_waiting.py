from __future__ import annotations

import asyncio
from typing import Any

import pytest

from diptych.serve.refusals import GoneError, TimedOutError
from diptych.serve.waiting import awaited


class Caller:
    """A request whose client goes away after some seconds."""

    def __init__(self, after: float) -> None:
        self._after = after

    async def receive(self) -> dict[str, str]:
        await asyncio.sleep(self._after)
        return {"type": "http.disconnect"}


async def cancelled(ended: list[str]) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        ended.append("ended")


@pytest.mark.parametrize(("after", "error"), [(0.0, GoneError), (60.0, TimedOutError)])
def test_work_that_nobody_waits_for_is_cancelled(after: float, error: Any) -> None:
    ended: list[str] = []

    async def ask() -> None:
        with pytest.raises(error):
            await awaited(Caller(after), cancelled(ended), 0.05)
        await asyncio.sleep(0)

    asyncio.run(ask())
    assert ended == ["ended"]


def test_a_result_and_an_error_come_back() -> None:
    async def three() -> int:
        return 3

    async def broken() -> int:
        raise ValueError("no")

    async def ask() -> None:
        assert await awaited(Caller(60), three(), 5) == 3
        with pytest.raises(ValueError, match="no"):
            await awaited(Caller(60), broken(), 5)

    asyncio.run(ask())
