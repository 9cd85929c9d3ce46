"""Mask proposals of a trained Mask2Former, without its classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from diptych.backbones.spec import state_hash
from diptych.core import Proposals
from diptych.data.images import upright_rgb


class Mask2FormerProposals:
    """The queries of a ``Mask2FormerForUniversalSegmentation`` of transformers; its classes are not used.

    Args:
        model: set to eval mode.
        processor: of its checkpoint; None: the library's.

    The score of a query is the probability that it is of any class. The library's processor resizes a picture to
    multiples of 32, without its ratio, and pads nothing where there is one picture: the map lies evenly over it.
    """

    def __init__(self, model: nn.Module, processor: Any = None) -> None:
        from transformers import Mask2FormerImageProcessor

        self.model: Any = model.eval()
        self.processor = processor or Mask2FormerImageProcessor()
        facts = json.dumps(self.processor.to_dict(), default=str, sort_keys=True)
        self._fingerprint = hashlib.sha256(f"mask2former/{facts}/{state_hash(model)}".encode()).hexdigest()[:16]

    @property
    def fingerprint(self) -> str:
        """Hash of weights and processor."""
        return self._fingerprint

    def propose(self, image: Any, words: Sequence[str] = (), /) -> Proposals:
        """Return the masks of all queries, surest first."""
        picture = upright_rgb(image)
        inputs = self.processor(images=picture, return_tensors="pt").to(next(self.model.parameters()).device)
        with torch.no_grad():
            out = self.model(**inputs)
        scores = 1 - out.class_queries_logits[0].softmax(-1)[:, -1]
        masks = out.masks_queries_logits[0].float().sigmoid()
        order = scores.argsort(descending=True, stable=True)
        return Proposals(masks[order].cpu(), scores[order].float().cpu(), (picture.height, picture.width))
