"""Words and pixels of proposers that find words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor

from diptych.backbones.mask_models.transformers_models import (
    ClipSegProposals,
    Mask2FormerProposals,
    OwlProposals,
    word_inputs,
)
from diptych.core import UsageError
from tests.support.mask_models import mask2former, quarters


class WordProcessor:
    image_processor = hf.ViTImageProcessor(size={"height": 32, "width": 32})

    @staticmethod
    def tokenizer(texts: list[str], *, padding: str, **_: Any) -> dict[str, Tensor]:
        ids = torch.tensor([[1, len(t), len(padding)] for t in texts])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "others": ids}


def test_words_and_pixels_are_read_once() -> None:
    inputs, size = word_inputs(
        "CLIPSeg", torch.nn.Linear(1, 1), WordProcessor(), quarters(), ("a dog", "sky"), padding="x"
    )
    assert size == (32, 48)
    assert {name: tuple(value.shape) for name, value in inputs.items()} == {
        "pixel_values": (1, 3, 32, 32),
        "input_ids": (2, 3),
        "attention_mask": (2, 3),
    }
    assert inputs["input_ids"].tolist() == [[1, 5, 1], [1, 3, 1]]
    with pytest.raises(UsageError, match="OWL finds words"):
        word_inputs("OWL", torch.nn.Linear(1, 1), WordProcessor(), quarters(), (), padding="x")


def test_clipseg_finds_words() -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = hf.CLIPSegConfig(
        text_config={**sizes, "vocab_size": 99, "eos_token_id": 98},
        vision_config={**sizes, "image_size": 32, "patch_size": 8}, projection_dim=16, reduce_dim=8,
        extract_layers=[0, 1, 2], decoder_num_attention_heads=2, decoder_intermediate_size=16,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = hf.CLIPSegForImageSegmentation(config)

    class Processor:
        image_processor = hf.ViTImageProcessor(size={"height": 32, "width": 32})

        @staticmethod
        def tokenizer(texts: list[str], **_: Any) -> dict[str, Tensor]:
            ids = torch.tensor([[1, len(t), 98] for t in texts])
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    proposer = ClipSegProposals(model, Processor())
    proposals = proposer.propose(quarters(), ("a red square", "sky"))
    assert proposals.masks.shape == (2, 32, 32)
    alone = proposer.propose(quarters(), ("sky",))
    torch.testing.assert_close(alone.masks[0], proposals.masks[1])
    with pytest.raises(UsageError, match="finds words"):
        proposer.propose(quarters())


SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


class Processor:
    """Words become the tokens start, their length, end."""

    def __init__(self, kind: str) -> None:
        self.image_processor = getattr(hf, f"{kind}ImageProcessor")(size={"height": 32, "width": 32})

    @staticmethod
    def tokenizer(texts: list[str], *, max_length: int, **_: Any) -> dict[str, Tensor]:
        ids = torch.tensor([[1, len(t), 98] + [0] * (max_length - 3) for t in texts])
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def detector(kind: str) -> Any:
    config = getattr(hf, f"{kind}Config")(
        text_config={**SIZES, "vocab_size": 99, "max_position_embeddings": 6, "eos_token_id": 98},
        vision_config={**SIZES, "image_size": 32, "patch_size": 8}, projection_dim=16,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(hf, f"{kind}ForObjectDetection")(config)


@pytest.mark.parametrize("kind", ["OwlViT", "Owlv2"])
def test_boxes_belong_to_the_words_that_score_highest(kind: str) -> None:
    model, picture, words = detector(kind), quarters(), ("a red square", "sky")
    proposals = OwlProposals(model, Processor(kind), least=0.0).propose(picture, words)
    assert proposals.boxes is not None
    assert proposals.words is not None
    assert proposals.size == (32, 48)
    assert len(proposals) == 16  # one a patch
    assert (proposals.scores.diff() <= 0).all()

    processor = Processor(kind)
    pixels = processor.image_processor(images=picture, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        out = model(pixel_values=pixels, **processor.tokenizer(list(words), max_length=6))
    order = out.logits[0].amax(1).argsort(descending=True, stable=True)
    assert proposals.words.tolist() == out.logits[0].argmax(1)[order].tolist()
    torch.testing.assert_close(proposals.scores, out.logits[0].sigmoid().amax(1)[order])
    centre, side = out.pred_boxes[0][order].split(2, dim=1)
    whole = torch.tensor([48.0, 48.0] if kind == "Owlv2" else proposals.size[::-1])  # OWLv2 sees a padded square
    edge = torch.tensor([48.0, 32.0])
    wanted = torch.cat([(centre - side / 2) * whole, (centre + side / 2) * whole], dim=1)
    torch.testing.assert_close(proposals.boxes, wanted.clamp(min=0).minimum(edge.repeat(2)))
    assert (proposals.boxes >= 0).all()
    assert (proposals.boxes <= edge.repeat(2)).all()
    for mask, (x0, y0, x1, y1) in zip(proposals.masks, proposals.boxes.tolist(), strict=True):
        inside = [
            [x0 <= (c + 0.5) * 48 / 64 < x1 and y0 <= (r + 0.5) * 32 / 43 < y1 for c in range(64)] for r in range(43)
        ]
        assert mask.bool().tolist() == inside


def test_no_word_and_no_sure_box() -> None:
    with pytest.raises(UsageError, match="finds words"):
        OwlProposals(detector("Owlv2"), Processor("Owlv2")).propose(quarters())
    none = OwlProposals(detector("Owlv2"), Processor("Owlv2"), least=1.0).propose(quarters(), ("sky",))
    assert none.masks.shape == (0, 43, 64)


def test_mask2formers_queries_are_proposals() -> None:
    processor = hf.Mask2FormerImageProcessor(size={"shortest_edge": 40, "longest_edge": 64})
    model = mask2former()
    proposals = Mask2FormerProposals(model, processor).propose(quarters())
    inputs = processor(images=quarters(), return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs)
    expected = 1 - out.class_queries_logits[0].softmax(-1)[:, -1]
    torch.testing.assert_close(proposals.scores, expected.sort(descending=True).values)
    assert len(proposals) == 7
    assert bool(inputs["pixel_mask"].all())  # one picture is never padded, so the map lies evenly over it
    assert proposals.masks.shape[1:] == out.masks_queries_logits.shape[2:]
