"""Words and pixels of proposers that find words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor

from diptych.backbones.mask_models.word_inputs import word_inputs
from diptych.core import UsageError
from tests.support.mask_models import quarters


class Processor:
    image_processor = hf.ViTImageProcessor(size={"height": 32, "width": 32})

    @staticmethod
    def tokenizer(texts: list[str], *, padding: str, **_: Any) -> dict[str, Tensor]:
        ids = torch.tensor([[1, len(t), len(padding)] for t in texts])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "others": ids}


def test_words_and_pixels_are_read_once() -> None:
    inputs, size = word_inputs("CLIPSeg", torch.nn.Linear(1, 1), Processor(), quarters(), ("a dog", "sky"), padding="x")
    assert size == (32, 48)
    assert {name: tuple(value.shape) for name, value in inputs.items()} == {
        "pixel_values": (1, 3, 32, 32),
        "input_ids": (2, 3),
        "attention_mask": (2, 3),
    }
    assert inputs["input_ids"].tolist() == [[1, 5, 1], [1, 3, 1]]
    with pytest.raises(UsageError, match="OWL finds words"):
        word_inputs("OWL", torch.nn.Linear(1, 1), Processor(), quarters(), (), padding="x")
