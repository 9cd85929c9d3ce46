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
        plain[:9] + "\n" + plain[9:],
    ):
        assert picture_bytes(text, "a") == data
    assert decoded(data, "a", 10_000).size == (12, 9)
    assert is_picture(f"data:image/png;base64,{plain}")
    assert not is_picture("data: the image/png")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://example.org/a.png", "not fetched"),
        ("file:///etc/passwd", "not fetched"),
        ("data:image/png,abc", "without base64"),
        ("a*b", "no base64"),
        ("abcde", "no base64"),
    ],
)
def test_other_strings_are_refused(text: str, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        picture_bytes(text, "input 0")
