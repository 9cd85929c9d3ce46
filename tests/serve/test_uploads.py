from __future__ import annotations

import base64

import pytest

from diptych.serve.refusals import Refusal
from diptych.serve.uploads import decoded, is_picture, picture_bytes
from tests.support.servers.serving import colour_bytes


def test_data_addresses_and_plain_base64_are_read() -> None:
    data = colour_bytes("red")
    plain = base64.b64encode(data).decode()
    for text in (
        plain,
        f"data:image/png;base64,{plain}",
        f"data:image/png;charset=x;base64,{plain}",
        plain[:76] + "\n" + plain[76:],
        f" DATA:image/png;BASE64,{plain}",
        f"data:application/octet-stream;base64,{plain}",
        f"data:;base64,{plain}",
    ):
        assert picture_bytes(text, "a") == data
        assert is_picture(text)
    assert decoded(data, "a", 10_000).size == (12, 9)


@pytest.mark.parametrize(
    ("text", "picture"),
    [
        ("https://example.org/a.JPG?size=2", True),
        ("file:///photos/a.png", True),
        ("data:image/svg+xml,<svg/>", True),
        ("https://example.org/a", False),
        ("https://example.org/a.png is a cat", False),
        ("data: the image/png", False),
        ("data:,a cat", False),
        ("/9j/ is how they begin", False),
    ],
)
def test_addresses_of_pictures_are_no_texts(text: str, picture: bool) -> None:
    assert is_picture(text) == picture


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://example.org/a.png", "not fetched"),
        ("file:///etc/passwd", "not fetched"),
        ("data:image/png,abc", "without base64"),
        ("a*b", "not base64"),
        ("abcde", "not base64"),
    ],
)
def test_other_strings_are_refused(text: str, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        picture_bytes(text, "input 0")
