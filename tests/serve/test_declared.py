from __future__ import annotations

from typing import Any

from tests.support.serving import colour_uri


def test_the_nearest_sentences_are_captions(client: Any) -> None:
    own = {"images": [colour_uri("red"), colour_uri("blue")], "texts": ["a blue thing", "a red thing"], "n": 2}
    photos = client.post("/v1/caption", json=own).json()["photos"]
    assert [p["captions"] for p in photos] == [["a red thing", "a blue thing"], ["a blue thing", "a red thing"]]
    served = client.post("/v1/caption", json={"images": [colour_uri("green")]}).json()["photos"]
    assert served[0]["captions"] == ["something green"]


def test_a_number_of_captions_below_one_is_refused(client: Any) -> None:
    answer = client.post("/v1/caption", json={"images": [colour_uri("red")], "n": 0})
    assert answer.status_code == 400
