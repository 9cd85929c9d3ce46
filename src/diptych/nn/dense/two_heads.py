"""One encoder of SAM with two heads: CLIP's embeddings of images and patches, and SAM's masks of prompts (SAM-CLIP).

    T  = e(x)                                   (h, w, C) tokens of SAM's encoder before its neck
    H  = three blocks on T, each begun as a copy of e's last
    v  = MLP(LN( max over cells of H ))         (D,) of the image
    V  = MLP(LN(H))                             (h, w, D) of the cells
    m  = decoder(neck(T), prompt)               mask logits

MLP: two hidden layers;  D: width of CLIP's joint space
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.towers.sam import SamTower
from diptych.core.backbone import PLAIN

BLOCKS = 3
"""Blocks of the head of CLIP."""
FOCAL = 20.0
"""Weight of the focal loss beside that of Dice (SAM's)."""
ALPHA = 0.25
"""Weight of pixels of a mask in the focal loss, and 3/4 of those outside."""


class TwoHeads(nn.Module):
    """The copy of a SAM with a head of CLIP.

    Args:
        sam: a ``SamModel`` of transformers; it is copied.
        dim: D.
        hidden: width of the hidden layers.
    """

    def __init__(self, sam: nn.Module, dim: int, hidden: int) -> None:
        super().__init__()
        self.sam: Any = copy.deepcopy(sam)
        encoder: Any = self.sam.vision_encoder
        self.blocks = nn.ModuleList(copy.deepcopy(encoder.layers[-1]) for _ in range(BLOCKS))
        width = int(encoder.config.hidden_size)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, dim)
        )

    @property
    def tower(self) -> SamTower:
        """SAM's encoder, cut in blocks."""
        return SamTower(self.sam.vision_encoder, "sam")

    def named_parts(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each parameter with its part: "head", "encoder", "decoder" or "prompts"."""
        for name, _ in self.named_parameters():
            inner = name.removeprefix("sam.")
            part = {"vision_encoder": "encoder", "mask_decoder": "decoder"}.get(inner.split(".")[0], "prompts")
            yield name, part if name.startswith("sam.") else "head"

    def tokens(self, x: Tensor) -> Tensor:
        """Return T, (B, h, w, C), of (B, 3, H, W) normalised pixels; sides are multiples of the patch."""
        tower = self.tower
        s = tower.blocks(tower.start(x, positions=PLAIN))
        assert s.grid is not None
        return s.h.reshape(len(x), *s.grid, -1)

    def cells(self, tokens: Tensor) -> Tensor:
        """Return H, (B, h, w, C), of T."""
        for block in self.blocks:
            out = block(tokens)
            tokens = out[0] if isinstance(out, tuple) else out  # transformers 4 returns a tuple
        return tokens

    def pooled(self, tokens: Tensor) -> Tensor:
        """Return v, (B, D), of T."""
        out: Tensor = self.mlp(self.norm(self.cells(tokens).amax((1, 2))))
        return out

    def dense(self, tokens: Tensor) -> Tensor:
        """Return V, (B, D, h, w), of T."""
        out: Tensor = self.mlp(self.norm(self.cells(tokens)))
        return out.permute(0, 3, 1, 2)

    def neck(self, tokens: Tensor) -> Tensor:
        """Return the (B, C', h, w) map that the decoder reads."""
        out: Tensor = self.sam.vision_encoder.neck(tokens)
        return out

    def decoded(self, tokens: Tensor, points: Tensor, boxes: Tensor) -> Tensor:
        """Return (B, P + Q, m, m) mask logits of P points and Q boxes.

        Args:
            tokens: T at SAM's own size.
            points: (B, P, 2) x and y in pixels of SAM's input; P >= 1.
            boxes: (B, Q, 4) x0 y0 x1 y1; Q >= 1.
        """
        return prompted(self.sam, self.neck(tokens), points, boxes)


def prompted(sam: Any, embedded: Tensor, points: Tensor, boxes: Tensor) -> Tensor:
    """Return (B, P + Q, m, m) mask logits of a SAM; see ``TwoHeads.decoded``."""
    inside = torch.ones(*points.shape[:2], 1, dtype=torch.int, device=points.device)
    by_point = sam(
        image_embeddings=embedded, input_points=points[:, :, None], input_labels=inside, multimask_output=False
    )
    by_box = sam(image_embeddings=embedded, input_boxes=boxes, multimask_output=False)
    return torch.cat([by_point.pred_masks[:, :, 0], by_box.pred_masks[:, :, 0]], dim=1)


def clip_loss(v: Tensor, taught: Tensor) -> Tensor:
    """Return the mean of 1 - cos(v, taught) over a batch.

    Args:
        v: (B, D).
        taught: (B, D) of the teacher.

    Source: Wang et al. 2024 (SAM-CLIP), equation 1.

    Example:
        >>> clip_loss(torch.eye(2), torch.eye(2)), clip_loss(torch.eye(2), -torch.eye(2))
        (tensor(0.), tensor(2.))
    """
    return (1 - F.cosine_similarity(v, taught, dim=-1)).mean()


def mask_loss(logits: Tensor, taught: Tensor) -> Tensor:
    """Return 20 focal + Dice of mask logits against soft masks; it is 0 where p = t, and nowhere less.

        focal = mean over pixels of (t / 4 + 3 (1 - t) / 4) (p - t)^2 CE(p, t)
        Dice  = mean over masks of 1 - (2 sum(p t) + 1) / (sum(p^2) + sum(t^2) + 1)

    p = sigmoid(logits), t: the teacher's probability, CE: binary cross-entropy. SAM's own two losses, for masks of 0
    and 1, are lower for masks that are surer than a soft teacher, so that a student as good as the teacher would leave
    it; on masks of 0 and 1 this focal loss is the same as theirs.

    Args:
        logits: (B, P, m, m).
        taught: (B, P, m, m) in [0, 1], of the teacher.

    Source: Wang et al. 2024 (SAM-CLIP), equation 2; the weights are SAM's (Kirillov et al. 2023), which the paper
        adapts to soft targets without saying how. Li et al. 2020 (generalised focal loss), equation 4; Milletari et al.
        2016 (V-Net), section 3.

    Example:
        >>> t = torch.tensor([[[[0.2, 0.7]]]])
        >>> mask_loss(t.logit(), t).round(decimals=4), bool(mask_loss(3 * t.logit(), t) > 0.1)  # as sure, and surer
        (tensor(0.), True)
    """
    p, alpha = logits.sigmoid(), ALPHA * taught + (1 - ALPHA) * (1 - taught)
    entropy = F.binary_cross_entropy_with_logits(logits, taught, reduction="none")
    focal = (alpha * (p - taught).square() * entropy).mean()
    overlap, sizes = (p * taught).sum((-2, -1)), (p.square() + taught.square()).sum((-2, -1))
    return FOCAL * focal + (1 - (2 * overlap + 1) / (sizes + 1)).mean()
