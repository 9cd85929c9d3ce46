"""Files of e4e and pSp, small, with the names of the released ones, and the same networks as modules of torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.generators.stylegan2 import StyleGAN2
from recipes.fresh_generators import fresh_weights

WIDTHS = (16, 16, 32, 32)
STYLE, SIZE, LATENTS = 8, 32, 8
TYPES = {"e4e": "Encoder4Editing", "pSp": "GradualStyleEncoder"}


def generator(seed: int = 0) -> StyleGAN2:
    """Return a generator of 32 pixels."""
    g = torch.Generator().manual_seed(seed)
    return StyleGAN2(fresh_weights(SIZE, STYLE, {4: 6, 8: 5, 16: 4, 32: 3}, 2, g))


class Gate(nn.Module):
    """A gate for each channel."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(wide, wide // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(wide // 16, wide, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * torch.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))
        return out


class Block(nn.Module):
    """A block of IR-SE-50."""

    def __init__(self, into: int, wide: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if into != wide:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(into, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(into), nn.Conv2d(into, wide, 3, 1, 1, bias=False), nn.PReLU(wide),
            nn.Conv2d(wide, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide), Gate(wide),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return out


class Head(nn.Module):
    """From a map to one w."""

    def __init__(self, into: int, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        while side > 1:
            layers += [nn.Conv2d(into, STYLE, 3, 2, 1), nn.LeakyReLU()]
            into, side = STYLE, side // 2
        self.convs, self.linear = nn.Sequential(*layers), nn.Linear(STYLE, STYLE)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.convs(x)[:, :, 0, 0], self.linear.weight / STYLE**0.5, self.linear.bias)


class Pyramid(nn.Module):
    """The encoder of both; ``kind`` says how the heads' outputs are put together."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.input_layer = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.PReLU(16))
        into, blocks = 16, []
        for wide, count in zip(WIDTHS, (3, 4, 14, 3), strict=True):
            for k in range(count):
                blocks.append(Block(into, wide, 2 if k == 0 else 1))
                into = wide
        self.body = nn.Sequential(*blocks)
        self.styles = nn.ModuleList(Head(32, 16 if i < 3 else 32 if i < 7 else 64) for i in range(LATENTS))
        self.latlayer1, self.latlayer2 = nn.Conv2d(32, 32, 1), nn.Conv2d(16, 32, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return w+ without the mean, of pictures in [-1, 1]."""
        x, maps = self.input_layer(x), {}
        for i, block in enumerate(self.body):
            maps[i] = x = block(x)
        p2 = F.interpolate(maps[23], scale_factor=2, mode="bilinear", align_corners=True) + self.latlayer1(maps[20])
        p1 = F.interpolate(p2, scale_factor=2, mode="bilinear", align_corners=True) + self.latlayer2(maps[6])
        heads = [head(maps[23] if i < 3 else p2 if i < 7 else p1) for i, head in enumerate(self.styles)]
        if self.kind == "e4e":
            heads = [heads[0], *(heads[0] + more for more in heads[1:])]
        return torch.stack(heads, dim=1)


def encoder(kind: str = "e4e") -> Pyramid:
    """Return an encoder in which no tensor has a neutral value."""
    g = torch.Generator().manual_seed(1)
    net = Pyramid(kind).eval()
    with torch.no_grad():
        for t in net.state_dict().values():
            if t.dtype.is_floating_point:
                noise = torch.randn(t.shape, generator=g)
                t.copy_(1 + 0.2 * noise.abs() if t.ndim == 1 else noise * (2 / t[0].numel()) ** 0.5)
    return net


def released(kind: str = "e4e", draws: StyleGAN2 | None = None) -> dict[str, Any]:
    """Return what such a file holds: encoder, generator, mean and options."""
    draws = draws or generator()
    state: Mapping[str, Tensor] = encoder(kind).state_dict()
    named = {f"encoder.{n}": t for n, t in state.items()} | {f"decoder.{n}": t for n, t in draws.weights.items()}
    mean = torch.linspace(-1, 1, STYLE).expand(LATENTS, STYLE).clone()
    opts = {"encoder_type": TYPES[kind], "start_from_latent_avg": True, "device": "cuda:0", "checkpoint_path": None}
    return {"state_dict": named, "latent_avg": mean, "opts": opts}


def written(content: object, folder: Path, name: str = "e4e.pt") -> Path:
    """Write a file."""
    torch.save(content, folder / name)
    return folder / name
