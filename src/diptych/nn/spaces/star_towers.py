"""Three small towers for a star: of its light curve, its spectrum and its metadata."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from diptych.data.stars import CURVE_CHANNELS, SPECTRUM_CHANNELS


class CurveTower(nn.Module):
    """Informer's encoder of a light curve, with full attention.

    Args:
        length: L, rows of the input.
        width: C, a multiple of ``heads``.
        layers, heads, hidden: of the transformer, which is post-norm with GELU.
        dropout: in its layers; that of the embedding is always 0.1.
    """

    def __init__(self, length: int, width: int, layers: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.sizes = length, width, layers, heads, hidden, dropout
        self.embed = nn.Conv1d(CURVE_CHANNELS, width, 3, padding=1, padding_mode="circular", bias=False)
        self.drop = nn.Dropout(0.1)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, hidden, dropout, "gelu", batch_first=True) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.positions: Tensor
        self.register_buffer("positions", sinusoids(length, width), persistent=False)
        self.out = length * width

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, L C) of (B, L, 6) light curves: five channels, and 1.0 where a row is a measurement.

        Rows of padding reach neither the convolution nor the attention, and their outputs are 0.
        """
        measured = x[..., -1] > 0
        rows = x[..., :-1].masked_fill(~measured[..., None], 0.0)
        h = self.drop(self.embed(rows.mT).mT + self.positions)
        for layer in self.layers:
            h = layer(h, src_key_padding_mask=~measured)
        unpadded: Tensor = self.norm(h).masked_fill(~measured[..., None], 0.0)
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
