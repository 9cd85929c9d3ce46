"""Both towers of a frozen backbone, with learnable prompts before their blocks, as encoders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diptych.core import Backbone, Inputs, UsageError
from diptych.features.visual import SameInputs
from diptych.nn.prompts.deep import appended, refreshed
from diptych.nn.prompts.soft import Slots, encode_prompts, slots, word_vectors


class Prompts(nn.Module):
    """The learnt tokens of both towers.

    They start as N(0, 0.02^2), from torch's global generator; seed it with ``Run.seeded``.

    Args:
        backbone: with an image and a text tower.
        length: n, tokens per block.
        depth: d, blocks; a tower with fewer blocks gets one set for each.
        words: start of the first text tokens, at most four and no more than n; the others are Gaussian. "": all are.

    Raises:
        MissingHook: the backbone lacks a tower.
        UsageError: there are too many words.
    """

    def __init__(self, backbone: Backbone, length: int, depth: int, words: str = "") -> None:
        super().__init__()
        image, text = backbone.tower("image"), backbone.tower("text")
        self.image_tokens = nn.Parameter(0.02 * torch.randn(min(depth, image.depth), length, image.width))
        self.text_tokens = nn.Parameter(0.02 * torch.randn(min(depth, text.depth), length, text.width))
        if words:
            start = word_vectors(backbone, words)
            if len(start) > min(4, length):
                raise UsageError(
                    f"words must have at most {min(4, length)} tokens, got {len(start)} in {words!r}: give fewer."
                )
            with torch.no_grad():
                self.text_tokens[0, : len(start)] = start


@dataclass(frozen=True, eq=False)
class PromptedImage(SameInputs):
    """The image encoder with prompts after the patches.

    Args:
        backbone: frozen.
        digest: hash of the learnt values, once they are fixed.
    """

    backbone: Backbone
    prompts: Prompts
    digest: str = ""

    @property
    def dim(self) -> int:
        """Joint width D."""
        return self.backbone.image.dim

    @property
    def fingerprint(self) -> str:
        """Hash of the backbone's encoder and the prompts."""
        return _joined(self.backbone.image.fingerprint, self.digest)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) embeddings, not normalised."""
        tower = self.backbone.tower("image")
        edit = appended(self.prompts.image_tokens)
        return tower.project(tower.pooled(tower.blocks(tower.start(x, edit=edit), edit=edit))).float()


@dataclass(frozen=True, eq=False)
class PromptedText:
    """The text encoder with prompts before the text.

    Args:
        backbone, prompts, digest: as for ``PromptedImage``.
        modality: "text".
        size: None, as texts have no size.
    """

    backbone: Backbone
    prompts: Prompts
    digest: str = ""
    modality: str = "text"
    size: int | None = None

    @property
    def dim(self) -> int:
        """Joint width D."""
        return self.backbone.text.dim

    @property
    def fingerprint(self) -> str:
        """Hash of the backbone's encoder and the prompts."""
        return _joined(self.backbone.text.fingerprint, self.digest)

    def inputs(self, items: Sequence[str], size: int | None = None) -> Mapping[str, Tensor]:
        """Return "ids", "positions" and, if the tower has one, "mask" of B texts, each ended by one full stop.

        Raises:
            UsageError: a text and the prompts do not fit into the tower.
        """
        where = slots(self.backbone, [text.removesuffix(".") for text in items], self.prompts.text_tokens.shape[1])
        fields = {"ids": where.ids, "positions": where.positions}
        return fields if where.mask is None else {**fields, "mask": where.mask}

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) embeddings, not normalised."""
        assert isinstance(x, Mapping)
        tower, tokens = self.backbone.tower("text"), self.prompts.text_tokens
        ids = x["ids"].to(tokens.device)
        with torch.no_grad():
            embeds = tower.embed(ids)
        mask = x["mask"].to(tokens.device) if "mask" in x else None
        where = Slots(ids, embeds, mask, x["positions"].to(tokens.device))
        return encode_prompts(tower, where, tokens[0], edit=refreshed(tokens[1:], int(x["positions"][0, 0])))


def _joined(fingerprint: str, digest: str) -> str:
    return hashlib.sha256(f"{fingerprint}/prompts/{digest}".encode()).hexdigest()[:16]
