"""What a package outside brings: an extender of clips, and a modality of its own with an extender of it.

A file that ends in .tone holds three numbers; the class of a tone is its largest one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core import (
    Backbone,
    Card,
    Encoder,
    Evidence,
    Extender,
    Inputs,
    Kit,
    Needs,
    Parts,
    Run,
    Space,
    Spec,
    Table,
    Texts,
    UnreadableItem,
)
from diptych.data.evidence import texts_of
from diptych.data.format import Request
from diptych.data.formats.item_folders import ItemKind, by_folders
from diptych.data.labelled import LabelledData
from diptych.data.modalities import Modality
from diptych.features.clips import ClipEncoder
from diptych.features.derived_space import DerivedSpace, base_of, parts_of, restored
from diptych.features.embed import embed


class Shift(nn.Module):
    """A learnt vector that is added to clips."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.zeros(dim))


@dataclass(frozen=True, eq=False)
class ShiftedClips(ClipEncoder):
    by: Any = None

    @property
    def fingerprint(self) -> str:
        own = hashlib.sha256(self.by.detach().numpy().tobytes()).hexdigest()
        return hashlib.sha256(f"{self.image.fingerprint}/{self.frames}/{own}".encode()).hexdigest()[:16]

    def encode(self, x: Inputs, /) -> Tensor:
        return super().encode(x) + self.by


class ShiftedSpace(DerivedSpace):
    def __init__(self, base: Backbone, frames: int, shift: Shift) -> None:
        super().__init__(base, ShiftedClips(base.image, frames, by=shift.by), suffix="shifted", module=shift.eval())
        self.frames, self.shift = frames, shift

    def parts(self) -> Parts:
        return parts_of(self, {"frames": self.frames}, self.shift)

    @classmethod
    def of_parts(cls, parts: Parts) -> ShiftedSpace:
        base, _ = base_of(parts)
        return cls(base, parts.settings["frames"], restored(lambda: Shift(base.image.dim), parts))


@dataclass(frozen=True)
class ShiftedFrames(Extender):
    """The mean of frames, moved from the mean of the clips to the mean of their texts."""

    frames: int = 2

    card: ClassVar[Card] = Card(
        "shifted-frames", "Shifted frames", "t", "https://x", 2024, "extend", "c", Needs(evidence=("train",)), "a shift"
    )

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> ShiftedSpace:
        backbone = kit.need(Backbone)
        table, texts, labels = texts_of(evidence.train)
        clips = embed(ClipEncoder(backbone.image, self.frames), table.items, run)
        words = embed(backbone.text, Texts(texts), run)
        shift = Shift(backbone.image.dim).requires_grad_(False)
        shift.by += words[torch.from_numpy(labels)].mean(0) - clips.mean(0)
        return ShiftedSpace(backbone, self.frames, shift)


class Tones:
    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> tuple[float, ...]:
        try:
            return tuple(float(x) for x in Path(self.paths[index]).read_text().split())
        except ValueError:
            raise UnreadableItem(self.paths[index], "holds no numbers") from None

    def key(self, index: int, /) -> str:
        return hashlib.sha256(Path(self.paths[index]).read_bytes()).hexdigest()

    def name(self, index: int, /) -> str:
        return self.paths[index]


def is_tone(path: Any) -> bool:
    return Path(path).suffix == ".tone"


def opened(paths: Sequence[str], request: Request) -> LabelledData:
    if len(paths) == 1 and Path(paths[0]).is_dir():
        return by_folders(Path(paths[0]), is_tone, Tones, ItemKind("tone", "a folder of .tone files"))
    return LabelledData("tones", (), {"test": Table(Tones(paths))})


TONES = Modality(
    "tones", "tone", "tones", "tone", lambda path: is_tone(path) or any(Path(path).rglob("*.tone")), opened,
    suffix=lambda data: ".tone",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ToneEncoder:
    map: nn.Linear
    fingerprint: str
    modality: str = "tone"
    size: int | None = None

    @property
    def dim(self) -> int:
        return self.map.out_features

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        return torch.tensor(items)

    def encode(self, x: Inputs, /) -> Tensor:
        out: Tensor = self.map(x)
        return out


class ToneSpace(Space):
    """Tones and texts in one space, which is no backbone: there are no pictures."""

    score: Literal["softmax", "sigmoid"] = "softmax"

    def __init__(self, base: Backbone, linear: nn.Linear) -> None:
        digest = hashlib.sha256(linear.weight.detach().numpy().tobytes()).hexdigest()[:16]
        self.base, self.linear = base, linear.eval()
        self._encoders: dict[str, Encoder[Any]] = {"tone": ToneEncoder(linear, digest), "text": base.text}

    @property
    def encoders(self) -> Mapping[str, Encoder[Any]]:
        return self._encoders

    @property
    def spec(self) -> Spec:
        return self.base.spec

    def scale(self, a: str = "tone", b: str = "text") -> tuple[Tensor, Tensor]:
        return self.base.scale()

    def module(self) -> nn.Module:
        return self.linear

    def parts(self) -> Parts:
        tensors = {f"own/{name}": tensor for name, tensor in self.linear.state_dict().items()}
        return Parts(self.base, {"numbers": self.linear.in_features}, tensors)

    @classmethod
    def of_parts(cls, parts: Parts) -> ToneSpace:
        base, _ = base_of(parts)
        return cls(base, restored(lambda: nn.Linear(parts.settings["numbers"], base.text.dim, bias=False), parts))


@dataclass(frozen=True)
class ToneMap(Extender):
    """The linear map from three numbers to the texts of their classes, by least squares."""

    samples = "tones"
    passes = ""
    card: ClassVar[Card] = Card(
        "tone-map", "Tone map", "t", "https://x", 2024, "extend", "c", Needs(("text",), evidence=("train",)), "a map"
    )

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> ToneSpace:
        backbone = kit.need(Backbone)
        table, texts, labels = texts_of(evidence.train)
        x = torch.tensor([table.items[i] for i in range(len(table))])
        words = normalize(embed(backbone.text, Texts(texts), run), dim=-1)[torch.from_numpy(labels)]
        linear = nn.Linear(x.shape[1], backbone.text.dim, bias=False).requires_grad_(False)
        linear.weight.copy_(torch.linalg.lstsq(x, words).solution.T)
        return ToneSpace(backbone, linear)


POINTS = (
    EntryPoint("shifted-frames", f"{__name__}:ShiftedFrames", "diptych.methods"),
    EntryPoint("tone-map", f"{__name__}:ToneMap", "diptych.methods"),
    EntryPoint("tones", f"{__name__}:TONES", "diptych.modalities"),
)


def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behave as where the package is installed."""

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [point for point in POINTS if point.group == group]

    for place in ("importlib.metadata", "diptych.core.entry_points"):
        monkeypatch.setattr(f"{place}.entry_points", entry_points)


def tones(folder: Path) -> Path:
    """Write three classes of tones, each with four to learn from and three to test on."""
    g = torch.Generator().manual_seed(0)
    for split, count in (("train", 4), ("test", 3)):
        for k, name in enumerate(("low", "middle", "high")):
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(count):
                numbers = torch.rand(3, generator=g) / 4 + torch.eye(3)[k]
                (place / f"{i}.tone").write_text(" ".join(f"{x:.6f}" for x in numbers.tolist()))
    return folder
