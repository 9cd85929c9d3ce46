"""Adapters over the views of a point cloud, one behind each of two frozen towers, and the space that they give."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diptych.core import Backbone, Encoder, Inputs, Parts
from diptych.data.shapes import Camera
from diptych.features.clips import each_frame
from diptych.features.depth_views import CloudEncoder
from diptych.features.derived_space import DerivedSpace, base_of, parts_of, restored


class ViewAdapter(nn.Module):
    """The adapter of one tower: from the outputs of V views to one vector of a cloud.

    Args:
        views: V.
        dim: D.
        hidden: H, width between.
        dropout: in [0, 1).
    """

    def __init__(self, views: int, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((views,), 0.5))
        self.before, self.between = nn.BatchNorm1d(dim), nn.BatchNorm1d(hidden)
        self.joint, self.out = nn.Linear(views * dim, hidden), nn.Linear(hidden, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) of (B, V, D)."""
        h = (x * self.weights[:, None]).flatten(0, 1)
        h = self.drop(self.before(h)).reshape(len(x), -1)
        out: Tensor = self.out(self.drop(self.between(self.joint(h)).relu()))
        return out


def dual_path(adapters: nn.ModuleDict, depth: Tensor, image: Tensor) -> Tensor:
    """Return the (B, D) mean of the adapters' outputs for the (B, V, D) views of both towers."""
    paths = {"depth": depth, "image": image}
    out: Tensor = torch.stack([adapter(paths[name]) for name, adapter in adapters.items()]).mean(0)
    return out


@dataclass(frozen=True, eq=False)
class DualPathEncoder:
    """Encodes clouds by both towers and their adapters.

    Args:
        clouds: encoder of the tower of depth images.
        adapters: "depth" and "image", or one of them.
        fingerprint: of both towers and the adapters.
    """

    clouds: CloudEncoder
    image: Encoder[Any]
    adapters: nn.ModuleDict
    fingerprint: str
    modality: str = "cloud"

    @property
    def dim(self) -> int:
        """Joint width D."""
        return self.clouds.dim

    @property
    def size(self) -> int | None:
        """Side of a depth image in pixels."""
        return self.clouds.size

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, V, 3, S, S) pixels."""
        return self.clouds.inputs(items, size)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) embeddings, not normalised."""
        depth, image = (each_frame(encode, x).float() for encode in (self.clouds.image.encode, self.image.encode))
        return dual_path(self.adapters, depth, image)


class AdaptedClouds(DerivedSpace):
    """A backbone for point clouds, with adapters behind two image towers.

    Args:
        base: whose tower sees the depth images for the first adapter.
        origin: whose tower sees them for the second one; the base may be trained from it, or be it.
        cameras: V views of a cloud.
        radius: of a point's disc.
        adapters: "depth" and "image", or one of them, in eval mode.
        hidden: width between the layers of an adapter.
    """

    def __init__(
        self,
        base: Backbone,
        origin: Backbone,
        cameras: Sequence[Camera],
        radius: float,
        adapters: nn.ModuleDict,
        hidden: int,
    ) -> None:
        self.clouds, plain = (CloudEncoder(space.image, tuple(cameras), radius) for space in (base, origin))
        self.adapters, self.hidden = adapters, hidden
        learnt = b"".join(t.detach().cpu().numpy().tobytes() for t in adapters.state_dict().values())
        names = tuple(adapters)
        digest = hashlib.sha256(f"{self.clouds.fingerprint}/{plain.fingerprint}/{names}".encode() + learnt).hexdigest()
        encoder = DualPathEncoder(self.clouds, origin.image, adapters, digest[:16])
        module = nn.ModuleDict({"base": base.module(), "adapters": adapters}).eval()
        suffix = f"adapters-{digest[:6]}-clouds{len(cameras)}"
        super().__init__(base, encoder, suffix=suffix, module=module, origin=origin)

    def parts(self) -> Parts:
        """Return the views, and the tensors of the adapters, and those of the base where it was trained."""
        settings = {"cameras": self.clouds.cameras, "radius": self.clouds.radius}
        return parts_of(self, {**settings, "hidden": self.hidden, "paths": list(self.adapters)}, self.adapters)

    @classmethod
    def of_parts(cls, parts: Parts) -> AdaptedClouds:
        """Return the space of these parts."""
        base, origin = base_of(parts)
        cameras, hidden = parts.settings["cameras"], int(parts.settings["hidden"])
        sizes = len(cameras), base.image.dim, hidden, 0.0  # dropout has no part in eval mode
        paths = [str(path) for path in parts.settings["paths"]]
        adapters = restored(lambda: nn.ModuleDict({path: ViewAdapter(*sizes) for path in paths}), parts)
        return cls(base, origin, cameras, float(parts.settings["radius"]), adapters, hidden)
