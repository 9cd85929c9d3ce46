"""How models that find words in a picture read both: CLIPSeg, OWL-ViT and OWLv2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diptych.core import UsageError
from diptych.data.images import upright_rgb


def word_inputs(
    name: str, model: nn.Module, processor: Any, image: Any, words: Sequence[str], **padding: Any
) -> tuple[dict[str, Tensor], tuple[int, int]]:
    """Return what a model of transformers takes, on its device: "pixel_values" (1, 3, H, W), "input_ids" and
    "attention_mask" (Q, L) of Q words; and the (height, width) of the picture.

    Raises:
        UsageError: there is no word.
    """
    if not words:
        raise UsageError(f"{name} finds words, and got none: give some, such as ('a dog',).")
    picture = upright_rgb(image)
    texts = processor.tokenizer(list(words), return_tensors="pt", **padding)
    pixels = processor.image_processor(images=picture, return_tensors="pt")["pixel_values"]
    inputs = {"pixel_values": pixels, **{k: texts[k] for k in ("input_ids", "attention_mask")}}
    device: torch.device = next(model.parameters()).device
    return {k: v.to(device) for k, v in inputs.items()}, (picture.height, picture.width)
