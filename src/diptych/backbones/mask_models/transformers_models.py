"""Masks and boxes that models of transformers propose: CLIPSeg, OWL-ViT, OWLv2 and Mask2Former."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbones.spec import state_hash
from diptych.core import Proposals, UsageError
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


class _Model:
    """A model in eval mode with its processor.

    Attributes:
        fingerprint: hash of the weights, and of what else decides the proposals.
    """

    def __init__(self, model: nn.Module, processor: Any, facts: str) -> None:
        self.model: Any = model.eval()
        self.processor = processor
        self.fingerprint = hashlib.sha256(f"{facts}/{state_hash(model)}".encode()).hexdigest()[:16]


class ClipSegProposals(_Model):
    """What ``CLIPSegForImageSegmentation`` of transformers finds for each word.

    Args:
        model: set to eval mode.
        processor: ``CLIPSegProcessor`` of its checkpoint, with its tokenizer.

    The score of a word is the highest probability of its mask.
    """

    def __init__(self, model: nn.Module, processor: Any) -> None:
        super().__init__(model, processor, "clipseg")

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


SIDE = 64
"""Cells of the longer side of a mask."""


class OwlProposals(_Model):
    """What ``OwlViTForObjectDetection`` or ``Owlv2ForObjectDetection`` of transformers finds for words.

    Args:
        model: set to eval mode.
        processor: of its checkpoint, with its tokenizer.
        least: smallest score of a box, in [0, 1]; 0.1 (transformers').

    A box belongs to the word that it scores highest for, and its mask holds the cells whose centres lie in it.
    """

    def __init__(self, model: nn.Module, processor: Any, least: float = 0.1) -> None:
        super().__init__(model, processor, f"owl/{least}")
        self.least = least

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


class Mask2FormerProposals(_Model):
    """The queries of a ``Mask2FormerForUniversalSegmentation`` of transformers; its classes are not used.

    Args:
        model: set to eval mode.
        processor: of its checkpoint; None: the library's.

    The score of a query is the probability that it is of any class. The library's processor resizes a picture to
    multiples of 32, without its ratio, and pads nothing where there is one picture: the map lies evenly over it.
    """

    def __init__(self, model: nn.Module, processor: Any = None) -> None:
        from transformers import Mask2FormerImageProcessor

        processor = processor or Mask2FormerImageProcessor()
        facts = json.dumps(processor.to_dict(), default=str, sort_keys=True)
        super().__init__(model, processor, f"mask2former/{facts}")

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
