"""Three small towers for a star: of its light curve, its spectrum and its metadata."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from diptych.data.stars import CURVE_CHANNELS, SPECTRUM_CHANNELS


def sparse_attention(q: Tensor, k: Tensor, v: Tensor, keys: Tensor) -> Tensor:
    """Return the (B, H, L, E) outputs of ProbSparse attention.

    Few queries attend, those whose products with some keys are most uneven; all others give the mean of the values.

    Args:
        q: (B, H, L, E) queries.
        k: keys, of the same size.
        v: values, of the same size.
        keys: (L, U) positions of the keys that each query is measured on; U queries attend.

    Source: Zhou et al. 2021 (Informer), with a factor of 1.

    Example:
        >>> x = torch.ones(1, 1, 3, 2)
        >>> sparse_attention(x, x, x, torch.zeros(3, 1, dtype=torch.long)).flatten().tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    products = (q[..., None, :] * k[:, :, keys]).sum(-1)
    uneven = products.amax(-1) - products.sum(-1) / k.shape[2]
    top = uneven.topk(keys.shape[1]).indices[..., None].expand(-1, -1, -1, q.shape[-1])
    weights = (q.gather(2, top) @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    return v.mean(2, keepdim=True).expand_as(v).scatter(2, top, weights @ v)


class SparseLayer(nn.TransformerEncoderLayer):
    """A layer with ProbSparse attention, whose outputs are put together as the authors of AstroM3 do: heads are not
    moved behind the rows, so that a row holds parts of other rows.
    """

    def mixed(self, x: Tensor, keys: Tensor) -> Tensor:
        """Return the (B, L, C) outputs of (B, L, C) rows; ``keys``: see ``sparse_attention``."""
        attend: nn.MultiheadAttention = self.self_attn
        q, k, v = (
            torch.unflatten(part, -1, (attend.num_heads, -1)).transpose(1, 2)
            for part in linear(x, attend.in_proj_weight, attend.in_proj_bias).chunk(3, dim=-1)
        )
        x = self.norm1(x + self.dropout1(attend.out_proj(sparse_attention(q, k, v, keys).reshape(x.shape))))
        wide = self.dropout(gelu(self.linear1(x)))
        out: Tensor = self.norm2(x + self.dropout2(self.linear2(wide)))
        return out


class CurveTower(nn.Module):
    """Informer's encoder of a light curve.

    Args:
        length: L, rows of the input.
        width: C, a multiple of ``heads``.
        layers, heads, hidden: of the transformer, which is post-norm with GELU.
        dropout: in its layers; that of the embedding is always 0.1.
        channels: of a row.
        attention: "full", hidden from padding; or "sparse", ProbSparse over padding too, as the authors of AstroM3 have
            it. Its keys are drawn anew in each step of a training, and are the same for every batch in tests.
    """

    def __init__(
        self,
        length: int,
        width: int,
        layers: int,
        heads: int,
        hidden: int,
        dropout: float,
        channels: int = CURVE_CHANNELS,
        attention: str = "full",
    ) -> None:
        super().__init__()
        self.sizes = length, width, layers, heads, hidden, dropout, channels, attention
        self.sparse = attention == "sparse"
        self.embed = nn.Conv1d(channels, width, 3, padding=1, padding_mode="circular", bias=False)
        self.drop = nn.Dropout(0.1)
        kind = SparseLayer if self.sparse else nn.TransformerEncoderLayer
        self.layers = nn.ModuleList(
            kind(width, heads, hidden, dropout, "gelu", batch_first=True) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.positions: Tensor
        self.register_buffer("positions", sinusoids(length, width), persistent=False)
        self.out = length * width

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, L C) of (B, L, channels + 1) light curves: the channels, and 1.0 where a row is a measurement.

        Rows of padding reach neither the convolution nor full attention, and their outputs are 0.
        """
        measured = x[..., -1] > 0
        if self.sparse:
            return self._sparse(x[..., :-1], measured)
        rows = x[..., :-1].masked_fill(~measured[..., None], 0.0)
        h = self.drop(self.embed(rows.mT).mT + self.positions)
        for layer in self.layers:
            h = layer(h, src_key_padding_mask=~measured)
        unpadded: Tensor = self.norm(h).masked_fill(~measured[..., None], 0.0)
        return unpadded.flatten(1)

    def _sparse(self, rows: Tensor, measured: Tensor) -> Tensor:
        length = rows.shape[1]
        g = None if self.training else torch.Generator().manual_seed(0)
        h = self.drop(self.embed(rows.mT).mT + self.positions)
        count = min(length, max(1, math.ceil(math.log(length))))
        for layer in self.layers:
            keys = torch.randint(length, (length, count), generator=g).to(h.device)
            assert isinstance(layer, SparseLayer)
            h = layer.mixed(h, keys)
        unpadded: Tensor = self.norm(h) * measured[..., None]
        return unpadded.flatten(1)


class SpectrumTower(nn.Module):
    """GalSpecNet: four convolutions of width 3, the first three pooled by 4.

    Args:
        length: W, wavelengths of the input, at least 234; with fewer, nothing is left after the last pooling.
        dropout: of the output.
    """

    def __init__(self, length: int, dropout: float) -> None:
        super().__init__()
        self.sizes = length, dropout
        sizes = (SPECTRUM_CHANNELS, 64, 64, 32, 32)
        parts: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(sizes)):
            parts += [nn.Conv1d(a, b, 3), nn.ReLU(), *([nn.MaxPool1d(4)] if i < 3 else [])]
            length = (length - 2) // 4 if i < 3 else length - 2
        self.net = nn.Sequential(*parts, nn.Flatten(), nn.Dropout(dropout))
        self.out = 32 * length

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 32 W') of (B, 3, W)."""
        out: Tensor = self.net(x)
        return out


class FactsTower(nn.Module):
    """Two layers over standardised metadata; a value that is not finite is unknown, and replaced by the mean.

    Args:
        mean, std: (M,) of the training stars.
        hidden: width of both layers.
        dropout: after each.
    """

    def __init__(self, mean: Tensor, std: Tensor, hidden: int, dropout: float) -> None:
        super().__init__()
        self.sizes = len(mean), hidden, dropout
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        layer = [nn.ReLU(), nn.Dropout(dropout)]
        self.net = nn.Sequential(nn.Linear(len(mean), hidden), *layer, nn.Linear(hidden, hidden), *layer)
        self.out = hidden

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, hidden) of (B, M), not finite where unknown."""
        out: Tensor = self.net(((x - self.mean) / self.std).masked_fill(~x.isfinite(), 0.0))
        return out


class StarModule(nn.Module):
    """Towers, projections, and a scale for each pair of modalities.

    Args:
        towers: modality -> tower with an attribute ``out``, its width.
        dim: D.
        pairs: pairs of modalities.
    """

    def __init__(self, towers: dict[str, nn.Module], dim: int, pairs: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self.pairs, self.towers = pairs, nn.ModuleDict(towers)
        self.projections = nn.ModuleDict({name: nn.Linear(int(tower.out), dim) for name, tower in towers.items()})  # type: ignore[arg-type]
        self.scales = nn.ModuleDict({pair_name(*pair): Scale() for pair in pairs})


class Scale(nn.Module):
    """One learnt inverse temperature, which starts at 100."""

    def __init__(self) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(100.0)))


def pair_name(a: str, b: str) -> str:
    """Return the name of a pair, the same for both orders."""
    return "-".join(sorted((a, b)))


def sinusoids(length: int, width: int) -> Tensor:
    """Return the (L, C) sines and cosines of Vaswani et al. 2017, interleaved."""
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]
