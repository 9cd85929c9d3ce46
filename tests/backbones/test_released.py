"""Tables of released files: each is whole, and formats are recognised."""

from __future__ import annotations

import open_clip
import pytest

from diptych import catalog
from diptych.backbones.released import recognised, row, slugs, table
from diptych.backbones.spec import recipe_from
from diptych.core import UsageError


@pytest.mark.parametrize("slug", slugs())
def test_a_table_belongs_to_a_system_and_its_files_are_described(slug: str) -> None:
    assert slug in {card["slug"] for card in catalog.cards()}
    read = table(slug)
    assert read.source.count("/") == 1
    assert len(read.commit) == 7
    for one in read.file:
        if one.architecture:
            known = open_clip.get_model_config(one.architecture)
            assert known is not None
            assert bool(known.get("quick_gelu")) == (one.activation == "quick_gelu")
            side = known["vision_cfg"].get("image_size", 224)
            assert recipe_from(one.pixels or {}).size == side
        assert not (one.architecture and one.unread)


def test_names_of_files_are_given_once() -> None:
    names = [one.name for slug in slugs() for one in table(slug).file]
    assert sorted(set(names)) == sorted(names)
    assert row("long-clip-l")[0] == "long-clip"
    with pytest.raises(UsageError, match="systems with one are"):
        table("zero-shot")


def test_formats_are_recognised_by_one_name() -> None:
    both = {"positional_embedding_res": 0, "transformer.resblocks.0.gate.weight": 0}
    assert recognised(both) is table("clip-moe")
    assert recognised({"positional_embedding_res": 0}) is table("long-clip")
    assert recognised({"visual.conv1.weight": 0}) is None
