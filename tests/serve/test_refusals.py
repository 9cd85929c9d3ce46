from __future__ import annotations

import pytest

from diptych.core import DataError, DiptychError, MissingExtra, MissingHook, NotAvailable, UnreadableItem, UsageError
from diptych.serve.refusals import BusyError, body, of_error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("u."), 400),
        (DataError("d."), 422),
        (UnreadableItem("x", "damaged"), 422),
        (NotAvailable("n."), 404),
        (MissingHook("h."), 501),
        (MissingExtra("a", "b", "c"), 501),
        (DiptychError("x."), 500),
    ],
)
def test_errors_of_the_library_have_a_status_and_keep_their_sentence(error: DiptychError, status: int) -> None:
    refusal = of_error(error)
    assert refusal.status == status
    content = body(refusal)
    assert content["error"]["message"] == content["message"] == content["detail"] == str(error)
    assert content["error"]["type"] == ("server_error" if status >= 500 else "invalid_request_error")


def test_a_full_queue_says_when_to_come_again() -> None:
    assert BusyError(7, 3).headers == {"Retry-After": "3"}
