from __future__ import annotations

import pytest

from diptych.serve.fetch import fetched
from diptych.serve.refusals import Refusal
from diptych.serve.settings import Settings


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://studio:8080@127.0.0.1/x",
        "http://studio:8080.evil.example/x",
        "HTTP://studio:80800/x",
        "//studio:8080/x",
        "file:///etc/passwd",
        "gopher://studio:8080/x",
        "",
    ],
)
def test_only_named_origins_are_asked(address: str) -> None:
    with pytest.raises(Refusal, match="is not fetched"):
        fetched(address, "task 0", Settings(fetch_from=("http://studio:8080",)), {})


def test_an_origin_that_does_not_answer_is_named() -> None:
    with pytest.raises(Refusal, match=r"cannot be fetched from 127\.0\.0\.1:9"):
        fetched("/x.png", "task 0", Settings(fetch_from=("http://127.0.0.1:9/",), timeout=1), {})
