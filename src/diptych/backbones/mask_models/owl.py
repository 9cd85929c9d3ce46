"""Boxes of what words name, by OWL-ViT and OWLv2, which are open-vocabulary detectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from diptych.backbones.mask_models.word_inputs import word_inputs
from diptych.backbones.spec import state_hash
from diptych.core import Proposals

SIDE = 64
"""Cells of the longer side of a mask."""


class OwlProposals:
    """What ``OwlViTForObjectDetection`` or ``Owlv2ForObjectDetection`` of transformers finds for words.

    Args:
        model: set to eval mode.
        processor: of its checkpoint, with its tokenizer.
        least: smallest score of a box, in [0, 1]; 0.1 (transformers').

    A box belongs to the word that it scores highest for, and its mask holds the cells whose centres lie in it.
    """

    def __init__(self, model: nn.Module, processor: Any, least: float = 0.1) -> None:
        self.model: Any = model.eval()
        self.processor, self.least = processor, least
        self._fingerprint = hashlib.sha256(f"owl/{least}/{state_hash(model)}".encode()).hexdigest()[:16]

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and of the smallest score."""
        return self._fingerprint

    def propose(self, image: Any, words: Sequence[str] = (), /) -> Proposals:
        """Return the boxes, with their words and masks, best first.

        Raises:
            UsageError: there is no word.
        """
        longest = int(self.model.config.text_config.max_position_embeddings)
        fixed = {"padding": "max_length", "truncation": True, "max_length": longest}
        inputs, size = word_inputs("OWL", self.model, self.processor, image, words, **fixed)
        with torch.no_grad():
            out = self.model(**inputs)
        (detections,) = self.processor.image_processor.post_process_object_detection(out, self.least, [size])
        order = detections["scores"].argsort(descending=True, stable=True)
        scores, labels, boxes = (detections[k][order].cpu() for k in ("scores", "labels", "boxes"))
        edge = torch.tensor([size[1], size[0]] * 2, dtype=boxes.dtype)
        boxes = boxes.float().clamp(min=0).minimum(edge)
        return Proposals(_masks(boxes, size), scores.float(), size, words=labels, boxes=boxes)


def _masks(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    h, w = (max(1, round(SIDE * n / max(size))) for n in size)
    y, x = (torch.arange(h) + 0.5) * size[0] / h, (torch.arange(w) + 0.5) * size[1] / w
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)
    inside = ((y >= y0) & (y < y1))[:, :, None] & ((x >= x0) & (x < x1))[:, None]
    return inside.float()
