"""Masks from queries: Mask2Former's pixel decoder, decoder, matcher and losses, over any four maps of an encoder.

    P      = pixel decoder(F_4, F_8, F_16, F_32)
    q_l    = layer l of the decoder(q_{l-1}, maps where m_{l-1} > 0)
    m_l    = P MLP(q_l)
    v_l    = MLP( W LN(mean of P where m_l > 0) + q_l )
    c_lk   = s max over words w of class k of cos(v_l, t_w);   void: s cos(v_l, t_0)
    loss   = sum over l of 2 CE(c_l) + 5 BCE(m_l) + 5 Dice(m_l)      of queries matched to segments, and void for others

F_r: map of the encoder at a stride of r pixels;  P: (C, h, w) pixel features at stride 4
q_l: (Q, C) queries after l layers;  m_l: (Q, h, w) mask logits;  v_l: (Q, D) embeddings in the space of the texts
t_w: (D,) unit vector of word w;  t_0: (D,) learnt vector of void;  s: learnt scale, at most 100

Networks, matcher and losses are transformers'; only the head of v is written here, after FC-CLIP.

Source: Cheng et al. 2022 (Mask2Former, arXiv 2112.01527), section 3; Yu et al. 2023 (FC-CLIP, arXiv 2308.02487).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.core import Backbone, Dense
from diptych.core.ranges import at_least, check, wrong
from diptych.core.void import WIDE
from diptych.features.strict_weights import load_tensors

STRIDES = (4, 8, 16, 32)
WEIGHTS = {"cross_entropy": 2.0, "mask": 5.0, "dice": 5.0}
"""Of the losses, and of the costs of a match."""
_LEAST = 64  # the library norms 32 groups of channels, and a map of one cell needs two in each


@dataclass(frozen=True)
class MaskLayout:
    """Sizes of the networks of masks; the defaults are ours, for a core and minutes.

    Args:
        width: C, a multiple of 64 and of ``heads`` (FC-CLIP 256).
        queries: Q, masks of an image, >= 1 (FC-CLIP 250, MAFT+ 100).
        encoder: layers of the pixel decoder, >= 1 (6).
        decoder: layers of the decoder, >= 1 (9).
        heads: of all attentions, >= 1 (8).
        points: points of a mask at which losses are taken, >= 1 (12544).

    Raises:
        UsageError: a number outside its range.
    """

    width: int = 64
    queries: int = 16
    encoder: int = 1
    decoder: int = 2
    heads: int = 8
    points: int = 256

    def __post_init__(self) -> None:
        check(self, at_least(1), "queries", "encoder", "decoder", "heads", "points")
        if self.width < 1 or self.width % _LEAST or self.width % self.heads:
            raise wrong(self, "width", f"a multiple of {_LEAST} and of heads={self.heads}")

    def config(self, classes: int = 1) -> Any:
        """Return transformers' configuration."""
        from transformers import Mask2FormerConfig

        return Mask2FormerConfig(
            feature_size=self.width,
            mask_feature_size=self.width,
            hidden_dim=self.width,
            encoder_feedforward_dim=4 * self.width,
            dim_feedforward=8 * self.width,
            encoder_layers=self.encoder,
            decoder_layers=self.decoder + 1,  # the library counts the masks of the queries before the first layer
            num_attention_heads=self.heads,
            num_queries=self.queries,
            train_num_points=self.points,
            num_labels=classes,
            class_weight=WEIGHTS["cross_entropy"],
            mask_weight=WEIGHTS["mask"],
            dice_weight=WEIGHTS["dice"],
        )


@dataclass(frozen=True)
class Layer:
    """What the queries are after a layer.

    Args:
        masks: (B, Q, h, w) logits at stride 4.
        vectors: (B, Q, D) unit embeddings.
    """

    masks: Tensor
    vectors: Tensor


class MaskQueries(nn.Module):
    """The trained network of masks, whose first weights are from torch's global generator.

    Args:
        channels: of the four maps, finest first.
        dim: D of the text space.
        layout: the sizes.
        scale: s at the start (default 1 / 0.07, FC-CLIP's).

    Attributes:
        void: (D,) vector of void, not normalised.
        log_scale: ln s.

    Example:
        >>> import torch
        >>> net = MaskQueries((8, 16, 16, 32), dim=12, layout=MaskLayout(queries=5, decoder=1))
        >>> maps = [torch.randn(2, c, 32 // r, 64 // r) for c, r in zip((8, 16, 16, 32), STRIDES)]
        >>> [tuple(layer.masks.shape) for layer in net(maps)]  # before the only layer, and after it
        [(2, 5, 8, 16), (2, 5, 8, 16)]
    """

    def __init__(self, channels: Sequence[int], dim: int, layout: MaskLayout, scale: float = 1 / 0.07) -> None:
        super().__init__()
        self.mask2former = _library_parts(channels, layout)
        c = layout.width
        self.before = nn.Sequential(nn.LayerNorm(c), nn.Linear(c, c))
        self.embed = nn.Sequential(nn.Linear(c, c), nn.ReLU(), nn.Linear(c, c), nn.ReLU(), nn.Linear(c, dim))
        self.void = nn.Parameter(torch.randn(dim))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, maps: Sequence[Tensor]) -> list[Layer]:
        """Return the layers, the last one last, of four (B, C_r, H / r, W / r) maps."""
        pixels = self.mask2former.pixels(list(maps))
        out = self.mask2former.queries(pixels.multi_scale_features, pixels.mask_features)
        states = (q.transpose(0, 1) for q in out.intermediate_hidden_states)  # the library has (Q, B, C)
        layers = zip(out.masks_queries_logits, states, strict=True)
        return [Layer(m, self._vectors(pixels.mask_features, m.detach(), q)) for m, q in layers]

    def _vectors(self, pixels: Tensor, masks: Tensor, queries: Tensor) -> Tensor:
        inside = (masks > 0).to(pixels)
        pooled = torch.einsum("bqhw,bchw->bqc", inside, pixels) / (inside.sum((2, 3))[..., None] + 1e-8)
        return F.normalize(self.embed(self.before(pooled) + queries), dim=-1)

    def logits(self, vectors: Tensor, words: Tensor, owner: Tensor) -> Tensor:
        """Return (B, Q, K + 1) logits of classes, and of void.

        Args:
            vectors: (B, Q, D) unit embeddings.
            words: (W, D) unit vectors.
            owner: (W,) class position of each word, 0 to K - 1.
        """
        owners = torch.cat([owner, owner.max()[None] + 1]).to(vectors.device)
        with torch.autocast(vectors.device.type, enabled=False):
            every = torch.cat([words.to(self.void), F.normalize(self.void, dim=0)[None]])
            return self.log_scale.exp().clamp_max(100) * best_word(vectors.to(every) @ every.T, owners)


def best_word(scores: Tensor, owner: Tensor) -> Tensor:
    """Return (..., K): of each class the largest of the (..., W) scores of its words.

    Example:
        >>> best_word(torch.tensor([0.1, 0.3, 0.2]), torch.tensor([0, 0, 1]))
        tensor([0.3000, 0.2000])
    """
    classes = int(owner.max()) + 1
    empty = scores.new_full((*scores.shape[:-1], classes), -torch.inf)
    return empty.scatter_reduce(-1, owner.expand(scores.shape), scores, "amax")


def four_maps(dense: Dense, maps: Sequence[Tensor]) -> list[Tensor]:
    """Return the maps at ``STRIDES``, with those that the encoder lacks resized from the nearest it has.

    Args:
        dense: of the encoder, with its strides.
        maps: (B, C, h, w) per stride.
    """
    levels = []
    height, width = (side * dense.strides[-1] for side in maps[-1].shape[2:])
    for stride in STRIDES:
        near = min(range(len(maps)), key=lambda i: abs(math.log2(dense.strides[i] / stride)))
        size = (max(1, height // stride), max(1, width // stride))
        m = maps[near]
        levels.append(m if m.shape[2:] == size else F.interpolate(m, size, mode="bilinear", align_corners=False))
    return levels


def map_channels(backbone: Backbone) -> tuple[int, ...]:
    """Return the channels of the four maps, found on a blank square of two cells."""
    dense = backbone.dense()
    side = 2 * dense.strides[-1]
    device = next((p.device for p in backbone.module().parameters()), torch.device("cpu"))
    blank = torch.zeros(1, 3, side, side, device=device)
    with torch.no_grad():
        return tuple(m.shape[1] for m in four_maps(dense, dense.maps(blank)))


def segments(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (n, H, W) float masks and (n,) class positions of the segments of one picture.

    Args:
        labels: (2, H, W): class positions, 65,535 for pixels that are in no segment, and numbers of segments.

    Example:
        >>> cows = torch.tensor([[[3, 3, 65535]], [[1, 2, 0]]])  # two cows and a pixel of nothing
        >>> segments(cows)[1]
        tensor([3, 3])
    """
    pairs = torch.unique(labels.flatten(1), dim=1).T
    pairs = pairs[pairs[:, 0] != WIDE]
    return (labels[None] == pairs[:, :, None, None]).all(1).float(), pairs[:, 0]


def set_losses(
    net: MaskQueries, layers: Sequence[Layer], labels: Tensor, words: Tensor, owner: Tensor, layout: MaskLayout
) -> dict[str, Tensor]:
    """Return the three weighted losses, summed over layers, of queries that are matched to segments.

    Points are drawn from torch's global generator. Pictures without a segment do not count.

    Args:
        net: gives logits of classes.
        layers: of its queries.
        labels: (B, 2, H, W), see ``segments``.
        words: (W, D) unit vectors of the words of the trained classes.
        owner: (W,) class position of each.
        layout: number of points.
    """
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

    truth = [segments(one) for one in labels]
    with_masks = [i for i, (masks, _) in enumerate(truth) if len(masks)]
    if not with_masks:
        return {name: layers[-1].masks.sum() * 0 for name in WEIGHTS}
    criterion = Mask2FormerLoss(layout.config(int(owner.max()) + 1), {}).to(labels.device)
    masks, classes = ([truth[i][part] for i in with_masks] for part in (0, 1))
    total = {name: layers[-1].masks.new_zeros(()) for name in WEIGHTS}
    for layer in layers:
        logits = net.logits(layer.vectors[with_masks], words, owner)
        losses: Mapping[str, Tensor] = criterion(layer.masks[with_masks].float(), logits.float(), masks, classes)
        total = {name: total[name] + weight * losses[f"loss_{name}"] for name, weight in WEIGHTS.items()}
    return total


def opened(channels: Sequence[int], dim: int, layout: MaskLayout, state: Mapping[str, Tensor]) -> MaskQueries:
    """Return the network with these weights, in eval mode; no generator is touched."""
    with torch.random.fork_rng(devices=[]):
        net = MaskQueries(channels, dim, layout)
    load_tensors(net, state)
    return net.eval().requires_grad_(False)


def _library_parts(channels: Sequence[int], layout: MaskLayout) -> Any:
    """Return transformers' two modules as "pixels" and "queries", with the library's own first weights."""
    from transformers.models.mask2former import modeling_mask2former as library

    class Parts(library.Mask2FormerPreTrainedModel):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.pixels = library.Mask2FormerPixelDecoder(config, feature_channels=list(channels))
            self.queries = library.Mask2FormerTransformerModule(in_features=layout.width, config=config)
            with torch.no_grad():  # post_init leaves out layers that own no parameter in classes outside the library
                self.apply(self._init_weights)
                if not self.pixels.level_embed.any():
                    self._renew()

        def _renew(self) -> None:
            """Draw again what old releases of the library draw from N(0, 0.02) or set to 0: queries, levels, layers."""
            for part in self.modules():
                if hasattr(part, "reset_parameters"):
                    part.reset_parameters()
            for part in self.modules():
                if type(part).__module__ == library.__name__:
                    self._init_weights(part)
            torch.nn.init.normal_(self.pixels.level_embed)

    return Parts(layout.config())
