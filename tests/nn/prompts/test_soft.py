from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from diptych.backbones.sources.load import load
from diptych.core import Backbone, MissingHook, NotAvailable, UsageError
from diptych.nn.prompts.soft import Position, encode_prompts, frozen, slots, word_vectors
from tests.support.backbone import SmallBackbone
from tests.support.checkpoints import transformers_folder
from tests.support.deep_backbone import DeepBackbone, word_id
from tests.support.small_clip import small_clip

NAMES = ["cat", "red barn", "dog of the barn"]


@pytest.fixture(
    scope="module", params=["deep", "openclip", "openclip siglip", "hf clip", "hf siglip", "hf chinese", "lite"]
)
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder: Path = tmp_path_factory.mktemp("clip") / "model"
    match request.param:
        case "deep":
            return DeepBackbone()
        case "lite":
            try:
                return load("lite")
            except NotAvailable as error:
                pytest.skip(str(error))
        case "openclip":
            return small_clip(folder)
        case "openclip siglip":
            return small_clip(folder, "siglip")
        case "hf clip":
            return load(f"local:{transformers_folder(folder, 'clip')}")
        case "hf siglip":
            return load(f"local:{transformers_folder(folder, 'siglip')}")
        case _:
            return load(f"local:{transformers_folder(folder, 'chinese_clip')}")


@pytest.mark.parametrize(
    ("position", "template"),
    [("end", "a photo of the {}."), ("front", "{} a photo of the."), ("middle", "a photo {} of the.")],
)
@torch.no_grad()
def test_words_as_context_are_the_written_prompt(backbone: Backbone, position: Position, template: str) -> None:
    context = word_vectors(backbone, "a photo of the")
    if position == "middle" and len(context) != 4:
        pytest.skip("this small tokenizer splits a word where the name would stand")
    got = encode_prompts(backbone.tower("text"), slots(backbone, NAMES, len(context), position), context)
    expected = backbone.text.encode(backbone.text.inputs([template.replace("{}", n) for n in NAMES]))
    torch.testing.assert_close(F.normalize(got, dim=1), F.normalize(expected, dim=1), rtol=1e-4, atol=1e-5)


def test_each_class_may_have_its_own_context(backbone: Backbone) -> None:
    where, tower = slots(backbone, NAMES, 2), backbone.tower("text")
    contexts = torch.randn(3, 2, where.embeds.shape[2], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = encode_prompts(tower, where, contexts)
        for k in range(3):
            torch.testing.assert_close(encode_prompts(tower, where, contexts[k])[k], together[k], rtol=1e-4, atol=1e-4)


def test_gradients_reach_every_vector_and_nothing_else(backbone: Backbone) -> None:
    where = slots(backbone, NAMES, 3)
    context = torch.randn(3, where.embeds.shape[2], generator=torch.Generator().manual_seed(0)).requires_grad_()
    flags = [p.requires_grad for p in backbone.module().parameters()]
    with frozen(backbone.module()):
        encode_prompts(backbone.tower("text"), where, context).square().sum().backward()
    assert context.grad is not None
    assert (context.grad.abs().sum(1) > 0).all()
    assert all(p.grad is None for p in backbone.module().parameters())
    assert [p.requires_grad for p in backbone.module().parameters()] == flags


def test_places_by_hand() -> None:
    backbone = DeepBackbone()
    where = slots(backbone, ["cat", "red barn"], 3, "middle")
    assert where.positions.tolist() == [[1, 3, 4], [1, 4, 5]]
    a, dot = word_id("a"), word_id(".")
    assert where.ids[0, :7].tolist() == [198, a, word_id("cat"), a, a, dot, 199]
    assert where.ids[1, :8].tolist() == [198, a, word_id("red"), word_id("barn"), a, a, dot, 199]


def test_too_long_a_prompt_and_a_missing_tower_are_named() -> None:
    with pytest.raises(UsageError, match="do not fit in the 32 tokens"):
        slots(DeepBackbone(), ["word " * 20], 16)
    with pytest.raises(MissingHook, match="small"):
        slots(SmallBackbone(), ["cat"], 2)
