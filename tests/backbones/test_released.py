"""Tables of released files: each is whole, and the translation of names does what its words say."""

from __future__ import annotations

from dataclasses import replace

import open_clip
import pytest
import torch
from torch import Tensor

from diptych import catalog
from diptych.backbones.released import ReleasedTable, misfit, recognised, rounded, row, slugs, table, translated
from diptych.backbones.spec import recipe_from
from diptych.core import DataError, UsageError

TABLE = ReleasedTable("a/b", "123")


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


def numbers(*shape: int) -> Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


def test_rows_are_split_joined_stacked_and_left_out() -> None:
    by = replace(
        TABLE,
        rename={
            r"attn\.in_(w|b)": r"q.\1|k.\1|v.\1",
            r"part(\d)": r"whole#\1",
            r"deep\.(\d)": r"deep#\1",
            r"buffer": "",
            r"void\.weight": "void",
        },
        stack=("deep",),
        squeeze=("void",),
    )
    state = {
        "attn.in_w": numbers(6, 2),
        "part1": numbers(1, 2),
        "part0": 9 + numbers(2, 2),
        "deep.0": numbers(3),
        "deep.1": 5 + numbers(3),
        "buffer": numbers(1),
        "void.weight": numbers(1, 4),
        "as it was": numbers(2),
    }
    out, origins = translated(state, by, "file")
    assert sorted(out) == ["as it was", "deep", "k.w", "q.w", "v.w", "void", "whole"]
    assert torch.equal(out["k.w"], numbers(6, 2)[2:4])
    assert out["whole"].tolist() == [[9, 10], [11, 12], [0, 1]]
    assert out["deep"].tolist() == [[0, 1, 2], [5, 6, 7]]
    assert out["void"].shape == (4,)
    assert origins["k.w"] == "attn.in_w"


@pytest.mark.parametrize(
    ("rename", "names", "said"),
    [
        ({r"[ab]": "x"}, {"a": (2,), "b": (2,)}, "two tensors for x, a and b"),
        ({r"a": "q|k|v"}, {"a": (4, 2)}, r"a of the shape \(4, 2\), whose rows are no 3 equal parts"),
        ({r"p(\d)": r"x#\1"}, {"p0": (2,), "p2": (2,)}, "lacks part 1 of x, beside p2: it is"),
        ({r"p(\d)": r"x#\1"}, {"p0": (2, 2), "p1": (2, 3)}, r"parts of x of other shapes, \(2, 2\), \(2, 3\)"),
    ],
)
def test_what_cannot_be_translated_is_named(
    rename: dict[str, str], names: dict[str, tuple[int, ...]], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        translated({k: numbers(*v) for k, v in names.items()}, replace(TABLE, rename=rename), "file")


def test_misfits_are_said_by_the_names_of_the_file() -> None:
    held, wanted = {"x": numbers(2), "z": numbers(1)}, {"x": numbers(3), "y": numbers(1)}
    said = misfit(held, wanted, {"x": "theirs.x"})
    assert said == "1 missing (y); 1 unexpected (z); 1 of another shape (theirs.x)"
    assert misfit(held, held) == ""
    assert misfit({"a": torch.ones(2).long()}, {"a": torch.ones(2)}) == "1 of whole numbers (a)"
    assert misfit({"a": torch.ones(2).half()}, {"a": torch.ones(2)}) == ""
    assert misfit({"a": torch.ones(2)}, {"a": torch.ones(2).long()}) == "", "a count may lie in a file as a float"
    many = {str(i): numbers(1) for i in range(5)}
    assert misfit(many, {}) == "5 unexpected (0, 1, 2, ...)"


def test_formats_are_recognised_by_one_name() -> None:
    both = {"positional_embedding_res": 0, "transformer.resblocks.0.gate.weight": 0}
    assert recognised(both) is table("clip-moe")
    assert recognised({"positional_embedding_res": 0}) is table("long-clip")
    assert recognised({"visual.conv1.weight": 0}) is None


def test_rounding_leaves_norms_embeddings_and_positions() -> None:
    state = {n: torch.tensor([1 / 3]) for n in ("visual.conv1.weight", "visual.ln_pre.bias", "token_embedding.weight")}
    state["ids"] = torch.tensor([70000])
    out = rounded(state)
    assert out["visual.conv1.weight"] != state["visual.conv1.weight"]
    assert out["visual.conv1.weight"].dtype == torch.float32
    assert all(torch.equal(out[n], state[n]) for n in state if n != "visual.conv1.weight")
