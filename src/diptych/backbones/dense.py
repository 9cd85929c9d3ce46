"""Dense maps of image encoders: ViT patch tokens, CLIP's ResNets and convolutional trunks of timm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from diptych.backbones.towers.cut import resize_positions, split_heads
from diptych.backbones.towers.image import ImageTower
from diptych.backbones.towers.of import class_names, image_tower_of
from diptych.backbones.towers.pools import log_weights
from diptych.core import MissingHook
from diptych.core.backbone import BILINEAR

if TYPE_CHECKING:
    from torch import Tensor

    from diptych.core import Dense, Spec
_HEAD_PARTS = {"Dropout", "Linear", "Mlp", "Identity"}


def dense_of(module: nn.Module, spec: Spec) -> Dense:
    """Return the dense maps of a module's image part.

    Args:
        module: open_clip CLIP, CoCa or CustomTextCLIP; transformers CLIPModel or SiglipModel; or a bare image encoder:
            open_clip VisionTransformer or ModifiedResNet, timm ViT, Eva, ConvNeXt, EfficientNet or FastViT.
        spec: gives the name for messages.

    Raises:
        MissingHook: no dense maps of ours fit this module.
    """
    visual: Any = getattr(module, "visual", module)
    kinds = class_names(visual)
    if "ModifiedResNet" in kinds:
        return ResNetDense(visual)
    trunk, head = (visual.trunk, visual.head) if "TimmModel" in kinds else (visual, None)
    if class_names(trunk) & {"timm.ConvNeXt", "timm.EfficientNet", "timm.FastVit"}:
        return ConvDense(trunk, head, spec.name)
    return VitDense(image_tower_of(module, spec))


class VitDense:
    """Patch tokens as one map, normed as the tower norms before pooling."""

    def __init__(self, tower: ImageTower) -> None:
        self.tower = tower

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels a patch."""
        return (self.tower.patch[0],)

    def maps(self, x: Tensor, /) -> list[Tensor]:
        """Return [(B, C, h, w)] of (B, 3, H, W) normalised pixels, of any size the patches divide."""
        s = self.tower.blocks(self.tower.start(x))
        assert s.grid is not None
        return [torch.unflatten(self.tower.patch_tokens(s).transpose(1, 2), 2, s.grid)]

    def pool(self, m: Tensor, weights: Tensor | None = None, /) -> Tensor:
        """Pool the map.

        Args:
            m: (B, C, h, w).
            weights: (B, Q, h, w), not negative: weights of a mean, or a prior on attention where the tower pools the
                patches by attention (a binary mask is a key mask). A region without weight gives zeros. None: the
                tower's own pooling.

        Raises:
            MissingHook: None, where the tower pools by tokens that are not in the map (CLS).
        """
        if weights is None and self.tower.pooling not in ("mean", "attention") and not self._no_prefix():
            raise MissingHook(
                f"{self.tower.name} pools by its CLS token, which is not in the map: give weights, or encode the image."
            )
        if self.tower.pool is None:
            return weighted_mean(m, weights)
        return self.tower.pool(
            m.flatten(2).transpose(1, 2), None if weights is None else weights.flatten(2).to(m.dtype)
        )

    def project(self, pooled: Tensor, /) -> Tensor:
        """Map (..., C), pooled or a single cell, to (..., D)."""
        return self.tower.project(self.tower.pooled_norm(pooled))

    def _no_prefix(self) -> bool:
        return self.tower.pooling != "cls" and self.tower.prefix() is None


class ConvDense:
    """Stages of a timm trunk that pools by the mean.

    Args:
        trunk: timm ConvNeXt, EfficientNet or FastViT (MobileCLIP); its head runs in ``project``.
        head: what follows the trunk (open_clip's ``TimmModel.head``, or a head of ours); None: nothing.

    Raises:
        MissingHook: another pooling than the mean.
    """

    def __init__(self, trunk: Any, head: nn.Module | None, name: str) -> None:
        head_of_trunk = getattr(trunk, "head", trunk)  # EfficientNet keeps its pool and classifier on itself
        kinds = {type(part).__name__ for part in ([] if head is None else head.children())}
        if getattr(head_of_trunk.global_pool, "pool_type", "avg") != "avg" or (
            isinstance(head, nn.Sequential) and not kinds <= _HEAD_PARTS
        ):
            raise MissingHook(
                f"{name} does not pool its map by the mean, which is the only pooling known here: use another backbone."
            )
        self.trunk, self.head = trunk, head
        self.norm, self.hidden = getattr(head_of_trunk, "norm", None), getattr(head_of_trunk, "pre_logits", None)
        self.last = head_of_trunk.fc if hasattr(head_of_trunk, "fc") else trunk.classifier

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels a cell, finest first."""
        return tuple(info["reduction"] for info in self.trunk.feature_info)

    def maps(self, x: Tensor, /) -> list[Tensor]:
        """Return (B, C, h, w) per stride; the last is the map that the trunk pools."""
        last, stages = self.trunk.forward_intermediates(x.to(next(self.trunk.parameters()).device))
        return [*stages[-len(self.strides) :][:-1], last]

    def pool(self, m: Tensor, weights: Tensor | None = None, /) -> Tensor:
        """Pool the last map by (B, Q, h, w) weights to (B, Q, C), or by the plain mean to (B, 1, C)."""
        return weighted_mean(m, weights)

    def project(self, pooled: Tensor, /) -> Tensor:
        """Map (..., C) to (..., D) by the trunk's norm and head."""
        x = pooled
        if self.norm is not None and not isinstance(self.norm, nn.Identity):  # a LayerNorm2d: it expects (B, C, H, W)
            x = F.layer_norm(x, self.norm.normalized_shape, self.norm.weight, self.norm.bias, self.norm.eps)
        for part in (self.hidden, self.last, self.head):
            x = x if part is None else part(x)
        return x


class ResNetDense:
    """The four stages of CLIP's ModifiedResNet.

    Args:
        visual: open_clip's ModifiedResNet.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, visual: Any) -> None:
        self.visual = visual

    def maps(self, x: Tensor, /) -> list[Tensor]:
        """Return (B, C, h, w) per stride."""
        stages, h = [], self.visual.stem(x.to(self.visual.conv1.weight.device))
        for layer in (self.visual.layer1, self.visual.layer2, self.visual.layer3, self.visual.layer4):
            h = layer(h)
            stages.append(h)
        return stages

    def pool(self, m: Tensor, weights: Tensor | None = None, /) -> Tensor:
        """Attend from the mean cell to itself and all cells, once per region.

        Both the mean and the attention are weighted.

        Args:
            m: (B, C, h, w), of any size: the position table is resampled bilinearly, as FC-CLIP does.
            weights: (B, Q, h, w), not negative; a binary mask is a key mask, equal weights are the encoder's own
                pooling. A region without weight gives zeros. None: the encoder's own pooling, Q = 1.

        Returns:
            (B, Q, C) attended values.
        """
        attn, cells = self.visual.attnpool, m.flatten(2).transpose(1, 2)
        side = round((len(attn.positional_embedding) - 1) ** 0.5)
        table = attn.positional_embedding.to(m.dtype)
        at_cells = resize_positions(table[1:], (side, side), (m.shape[2], m.shape[3]), BILINEAR)
        mean, cells = weighted_mean(m, weights) + table[0], cells + at_cells
        q, k_mean, v_mean = (
            split_heads(proj(mean), attn.num_heads) for proj in (attn.q_proj, attn.k_proj, attn.v_proj)
        )
        k, v = (split_heads(proj(cells), attn.num_heads) for proj in (attn.k_proj, attn.v_proj))
        logits = q @ k.transpose(-1, -2)
        if weights is not None:
            logs, empty = log_weights(weights.flatten(2).to(m.dtype))
            logits = logits + logs[:, None] * q.shape[-1] ** 0.5
        mean_logit = (q * k_mean).sum(-1, keepdim=True)
        shares = torch.softmax(torch.cat([mean_logit, logits], dim=-1) * q.shape[-1] ** -0.5, dim=-1)
        out = (shares[..., :1] * v_mean + shares[..., 1:] @ v).transpose(1, 2).flatten(2)
        return out if weights is None else out.masked_fill(empty, 0.0)

    def project(self, pooled: Tensor, /) -> Tensor:
        """Map (..., C) attended values to (..., D)."""
        return self.visual.attnpool.c_proj(pooled)


def weighted_mean(m: Tensor, weights: Tensor | None) -> Tensor:
    """Return the (B, Q, C) weighted means of a (B, C, h, w) map; None: the plain mean, Q = 1.

    A region without weight gives zeros.
    """
    if weights is None:
        return m.mean((2, 3))[:, None]
    total = weights.sum((2, 3), dtype=m.dtype).clamp_min(torch.finfo(m.dtype).tiny)
    return torch.einsum("bqhw,bchw->bqc", weights.to(m.dtype), m) / total[..., None]
