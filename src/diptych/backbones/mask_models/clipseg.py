"""Mask proposals for words, by CLIPSeg."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from diptych.backbones.mask_models.word_inputs import word_inputs
from diptych.backbones.spec import state_hash
from diptych.core import Proposals


class ClipSegProposals:
    """What ``CLIPSegForImageSegmentation`` of transformers finds for each word.

    Args:
        model: set to eval mode.
        processor: ``CLIPSegProcessor`` of its checkpoint, with its tokenizer.

    The score of a word is the highest probability of its mask.
    """

    def __init__(self, model: nn.Module, processor: Any) -> None:
        self.model: Any = model.eval()
        self.processor = processor
        self._fingerprint = hashlib.sha256(f"clipseg/{state_hash(model)}".encode()).hexdigest()[:16]

    @property
    def fingerprint(self) -> str:
        """Hash of the weights."""
        return self._fingerprint

    def propose(self, image: Any, words: Sequence[str] = (), /) -> Proposals:
        """Return one mask per word, in the order of the words.

        Raises:
            UsageError: there is no word.
        """
        inputs, size = word_inputs("CLIPSeg", self.model, self.processor, image, words, padding=True)
        with torch.no_grad():
            out = self.model(**{**inputs, "pixel_values": inputs["pixel_values"].expand(len(words), -1, -1, -1)})
        logits = out.logits[None] if out.logits.dim() == 2 else out.logits
        masks = logits.float().sigmoid().cpu()
        return Proposals(masks, masks.flatten(1).amax(1), size, words=torch.arange(len(words)))
