"""A backbone whose vectors are given, pictures and texts for it: what is measured is everything but the towers."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core import Backbone, Column, PixelRecipe, Spec, Table, Text, TextPool
from diptych.data.labelled import LabelledData
from diptych.data.words.pools import VERSUS, Pool

SIDE = 4
PIXELS = PixelRecipe(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), resize="squash")


@dataclass(frozen=True)
class ScriptedImage:
    """Pictures whose first pixels name a class: its direction, and noise that the pixels decide.

    Args:
        centres: (K, D) unit directions of the classes.
        noise: length of the noise.
    """

    centres: Tensor
    noise: float = 4.0
    modality: str = "image"
    size: int | None = SIDE

    @property
    def dim(self) -> int:
        return self.centres.shape[1]

    @property
    def fingerprint(self) -> str:
        return f"scripted-image-{len(self.centres)}-{self.dim}"

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, 2): class and seed; a view of a picture has a seed of its own, by its pixels."""
        return torch.tensor([self._named(item) for item in items], dtype=torch.int64)

    def _named(self, item: Any) -> tuple[int, int]:
        if isinstance(item, Tensor):
            pixels = (item * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        else:
            pixels = np.asarray(item.convert("RGB"))
        red = int(np.median(pixels[..., 0]))  # one red a class, the same in every view
        return red % len(self.centres), int.from_bytes(hashlib.sha256(pixels.tobytes()).digest()[:4], "big")

    def encode(self, x: Any, /) -> Tensor:
        noise = np.stack(
            [np.random.default_rng(seed).standard_normal(self.dim, dtype=np.float32) for seed in x[:, 1].tolist()]
        )
        return self.centres[x[:, 0]] + self.noise * torch.from_numpy(noise) / self.dim**0.5


@dataclass(frozen=True)
class ScriptedText:
    """Texts near the class whose number they hold ("thing 17"), and anywhere without one; it counts what it is asked.

    Args:
        centres: (K, D) unit directions of the classes.
        asked: how often each sentence was encoded.
    """

    centres: Tensor
    asked: Counter[str] = field(default_factory=Counter)
    modality: str = "text"
    size: int | None = None

    @property
    def dim(self) -> int:
        return self.centres.shape[1]

    @property
    def fingerprint(self) -> str:
        return f"scripted-text-{len(self.centres)}-{self.dim}"

    def inputs(self, items: Sequence[str], size: int | None = None) -> Tensor:
        """Return (B, 2): class or -1, and seed."""
        self.asked.update(items)
        rows = []
        for text in items:
            number = next((int(w) for w in text.replace(".", " ").replace(",", " ").split() if w.isdigit()), -1)
            rows.append((number, int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")))
        return torch.tensor(rows, dtype=torch.int64)

    def encode(self, x: Any, /) -> Tensor:
        noise = np.stack(
            [np.random.default_rng(seed).standard_normal(self.dim, dtype=np.float32) for seed in x[:, 1].tolist()]
        )
        known = (x[:, 0] >= 0)[:, None]
        return torch.where(known, self.centres[x[:, 0].clamp(min=0)], 0.0) + torch.from_numpy(noise) / self.dim**0.5


class ScriptedBackbone(Backbone):
    """A space of given vectors. Classes lie in groups of ten that are near each other, as confusable ones do.

    Args:
        classes: K, at most 256.
        dim: D.
    """

    def __init__(self, classes: int = 16, dim: int = 512) -> None:
        seed = torch.Generator().manual_seed(0)
        groups, offsets = (torch.randn(n, dim, generator=seed) for n in ((classes + 9) // 10, classes))
        centres = normalize(groups[torch.arange(classes) // 10] + offsets, dim=1)
        self.written = ScriptedText(centres)
        self._encoders = {"image": ScriptedImage(centres), "text": self.written}

    @property
    def encoders(self) -> Mapping[str, Any]:
        return self._encoders

    @property
    def score(self) -> Literal["softmax", "sigmoid"]:
        return "softmax"

    @property
    def spec(self) -> Spec:
        dim = self.written.dim
        return Spec("scripted", "scripted", "given vectors", "none", "", "none", 77, 0, "mean", dim, PIXELS)

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        return torch.tensor(100.0), torch.tensor(0.0)

    def module(self) -> nn.Module:
        return nn.Identity()


def scripted_data(classes: int, train: int, val: int, test: int) -> LabelledData:
    """Return a data set of pictures whose vectors ``ScriptedBackbone`` gives."""
    rng = np.random.default_rng(0)
    splits = {}
    for split, count in (("train", train), ("val", val), ("test", test)):
        labels = np.repeat(np.arange(classes), count)
        splits[split] = Table(
            Pictures(labels, rng.integers(0, 256, (len(labels), 16, 16, 2), dtype=np.uint8)),
            {"label": Column("label", labels)},
        )
    return LabelledData("scripted", tuple(f"thing {k}" for k in range(classes)), splits)


class Pictures:
    """Small pictures whose red is their class.

    Args:
        labels: (N,).
        pixels: (N, 16, 16, 2), green and blue.
    """

    def __init__(self, labels: np.ndarray, pixels: np.ndarray) -> None:
        self.labels, self.pixels = labels, pixels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int, /) -> Image.Image:
        red = np.full((16, 16, 1), self.labels[i], dtype=np.uint8)
        return Image.fromarray(np.concatenate([red, self.pixels[i]], axis=2))

    def key(self, i: int, /) -> str:
        return hashlib.sha256(bytes([self.labels[i]]) + self.pixels[i].tobytes()).hexdigest()

    def name(self, i: int, /) -> str:
        return f"picture {i}"


def scripted_pool(names: tuple[str, ...], pairs: int) -> Pool:
    """Return descriptions of each class, five, and ``pairs`` texts for each side of each pair, half of them shared
    by a class's pairs.
    """
    texts = {name: tuple(Text(f"{name} with part {j}") for j in range(5)) for name in names}
    for a, b in itertools.permutations(names, 2):
        classes_of = (
            f"{a} unlike {b.replace('thing ', 'item-')} by mark {j}" if j % 2 else f"{a} with part {j}"
            for j in range(pairs)
        )
        texts[f"{a}{VERSUS}{b}"] = tuple(Text(text) for text in classes_of)
    return Pool("scripted", TextPool(texts))
