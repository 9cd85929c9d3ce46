from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"[" * 50_000])
def test_what_is_neither_form_nor_object_is_refused(client: Any, raw: bytes) -> None:
    assert client.post("/predict", content=raw).status_code == 400


def test_a_broken_form_is_refused(client: Any) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/predict", content=b"--x\r\nnonsense", headers=headers).status_code in (400, 422)
    assert client.post("/predict", content=b"", headers={"content-type": "multipart/form-data"}).status_code == 400
