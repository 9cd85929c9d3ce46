from __future__ import annotations

import json
from pathlib import Path

import torch

from diptych.core import EditAsk
from diptych.tasks.edit import Edits, Pair
from diptych.verbs.pictures import Pictures


class Listed(Pictures):
    listing = "made.json"

    def line(self, item: Pair) -> str:
        return item.text


def test_equal_names_get_files_of_their_own_and_the_listing_is_the_data(tmp_path: Path) -> None:
    before = torch.zeros(3, 8, 8)
    pairs = (Pair("a/x.jpg", before, before, text="a cup"), Pair("b/x.jpg", None, before, text="a hat"))
    answer = Listed(Edits(EditAsk("", ("a cup", "a hat")), pairs), {"method": "m", "seed": 3})
    items = list(answer)
    assert [answer.printed(item, "") for item in items] == ["x.png  a cup", "x-2.png  a hat"]
    for item in items:
        answer.write(item, tmp_path, overwrite=False)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png")) == [
        "edited/x.png", "x-2.png", "x.png"
    ]  # fmt: skip
    data = answer.data([answer.row(item) for item in items], ["a remark"])
    answer.close(tmp_path, data, overwrite=False)
    listed = json.loads((tmp_path / "made.json").read_text())
    assert [row["text"] for row in listed["pictures"]] == ["a cup", "a hat"]
    assert (listed["method"], listed["seed"], listed["remarks"]) == ("m", 3, ["a remark"])
