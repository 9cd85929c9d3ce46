"""Depth images of point clouds: an orthographic camera, a z-buffer of discs, and grey values on white.

    x, y  = p . right / d,  p . up / d
    z     = d - p . c / d
    Z_uv  = min of z over the points whose disc covers pixel (u, v)
    I_uv  = (Z_uv - zmin) / zmax * 200 / 255  where a point with z > 0 covers the pixel, else 1

p: point in the unit sphere
c, right, up: unit vectors from the centre to the camera, to its right and upwards
d: distance of the camera, 1 unless it is drawn
zmax: largest depth of the image;  zmin: least depth, where empty pixels count as 1
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, Encoder, Inputs, Parts, Run, Samples
from diptych.data.formats.points import unit_sphere
from diptych.data.shapes import Camera, points_of
from diptych.features.clips import each_frame, image_head
from diptych.features.derived_space import DerivedSpace, base_of, parts_of
from diptych.features.embed import embed

SIX: tuple[Camera, ...] = ((0, 0), (0, 90), (0, 180), (0, 270), (90, 0), (-90, 180))
"""Four sides, the top and the bottom: the authors' cameras for zero-shot."""
TEN: tuple[Camera, ...] = (
    (0, 0), (90, 0), (180, 0), (270, 0), (225, -45), (225, 45), (315, -45), (315, 45), (0, -90), (0, 90),
)  # fmt: skip
"""A turn over the top, four sides from below and two at the height of the object: the authors' for few shots."""
RADIUS = 0.02
"""Radius of a point's disc, where the image reaches from -1 to 1."""
WHITE = 1.0
SHADES = 200 / 255
"""Grey value of the largest possible depth: objects stay darker than the background."""


def axes(camera: Camera) -> Tensor:
    """Return the (3, 3) unit vectors right, up and towards the camera, one per row, in float64.

    Source: pytorch3d's look_at_view_transform; at the poles, where up is parallel to the view, right is the x axis.

    Example:
        >>> axes((0, 0)).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    e, a = torch.deg2rad(torch.tensor(camera, dtype=torch.float64))
    towards = torch.stack([e.cos() * a.sin(), e.sin(), e.cos() * a.cos()])
    right = torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64), towards)
    if right.norm() < 1e-6:
        right = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    right = normalize(right, dim=0)
    return torch.stack([right, torch.linalg.cross(towards, right), towards])


def z_buffer(xyz: Tensor, size: int, radius: float = RADIUS) -> Tensor:
    """Return the (S, S) least depth at each pixel; -1 where there is no point.

    Args:
        xyz: (P, 3) x to the right and y upwards, from -1 to 1 inside the image, and depth z; points with z <= 0 lie
            behind the camera.
        size: S.
        radius: of a disc, in units of x. A pixel is covered where its centre is within the radius, and the pixel that
            holds the point always is.

    Example:
        >>> z_buffer(torch.tensor([[0.5, 0.5, 0.7], [0.5, 0.5, 0.2]]), size=2, radius=0.1)
        tensor([[-1.0000,  0.2000],
                [-1.0000, -1.0000]])
    """
    xyz = xyz[xyz[:, 2] > 0]
    # Column and row of the point in pixels, whose centres are at 0.5, 1.5, ...; rows count downwards.
    spots = torch.stack([(1 - xyz[:, 1]) * size / 2, (1 + xyz[:, 0]) * size / 2], dim=1)
    cells = spots.floor().long()
    reach = int(radius * size / 2) + 1
    steps = torch.arange(-reach, reach + 1)
    offsets = torch.cartesian_prod(steps, steps)
    pixels = cells[:, None] + offsets
    apart = (pixels + 0.5 - spots[:, None]).square().sum(-1)
    covered = (apart <= (radius * size / 2) ** 2) | (offsets == 0).all(-1)
    covered &= ((pixels >= 0) & (pixels < size)).all(-1)
    flat = (pixels[..., 0] * size + pixels[..., 1])[covered]
    depth = xyz[:, None, 2].expand(covered.shape)[covered]
    buffer = torch.full((size * size,), torch.inf, dtype=xyz.dtype).scatter_reduce(0, flat, depth, "amin")
    return torch.where(buffer.isinf(), -1.0, buffer).reshape(size, size)


def shaded(z: Tensor) -> Tensor:
    """Return the (S, S) grey values of a depth buffer, in [0, 1]; white where it is not above 0.

    The divisor is the largest depth and not the range of depths, as in the authors' code.

    Example:
        >>> shaded(torch.tensor([[-1.0, 0.5], [1.0, 1.5]]))
        tensor([[1.0000, 0.0000],
                [0.2614, 0.5229]])
    """
    full = z > 0
    filled = z.where(full, torch.ones(()).to(z))
    return ((filled - filled.min()) / z.max().clamp(min=1e-6) * SHADES).where(full, torch.full((), WHITE).to(z))


def depth_image(points: Tensor, camera: Camera, size: int, *, distance: float = 1.0, radius: float = RADIUS) -> Tensor:
    """Return the (S, S) float32 depth image of (P, 3) points in the unit sphere, from a camera at a distance.

    At distances below 1 the points nearest to the camera are behind it, and are left out.
    """
    x, y, towards = (points.double() @ axes(camera).T / distance).unbind(1)
    return shaded(z_buffer(torch.stack([x, y, distance - towards], dim=1), size, radius)).float()


@dataclass(frozen=True, eq=False)
class CloudEncoder:
    """Encodes point clouds as the mean of the unit embeddings of their depth images.

    Args:
        cameras: V cameras.
        radius: of a point's disc.
    """

    image: Encoder[Any]
    cameras: tuple[Camera, ...] = SIX
    radius: float = RADIUS
    modality: str = "cloud"

    @property
    def dim(self) -> int:
        """Joint width D."""
        return self.image.dim

    @property
    def size(self) -> int | None:
        """Side of a depth image in pixels."""
        return self.image.size

    @property
    def fingerprint(self) -> str:
        """Hash of the image encoder, the cameras and the radius."""
        cameras = [tuple(map(float, camera)) for camera in self.cameras]
        return hashlib.sha256(f"{self.image.fingerprint}/depth {cameras} {self.radius}".encode()).hexdigest()[:16]

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return the (B, V, 3, S, S) pixels of B clouds, each an array (P, 3) or a ``Shape``.

        Raises:
            DataError: an item is no cloud.
        """
        return torch.stack([self.rendered(item, [(camera, 1.0) for camera in self.cameras], size) for item in items])

    def rendered(self, item: Any, places: Sequence[tuple[Camera, float]], size: int | None = None) -> Tensor:
        """Return the (V, 3, S, S) pixels of a cloud from V places, each a camera with its distance."""
        points = torch.from_numpy(unit_sphere(points_of(item)))
        side = size or self.size or 224
        views = [depth_image(points, c, side, distance=d, radius=self.radius).expand(3, -1, -1) for c, d in places]
        pixels = self.image.inputs(views, size)
        assert isinstance(pixels, Tensor)
        return pixels

    def encode(self, x: Inputs, /) -> Tensor:
        """Return the (B, D) means of the unit embeddings of (B, V, 3, S, S) pixels."""
        return normalize(each_frame(self.image.encode, x), dim=-1).mean(1)


@dataclass(frozen=True, eq=False)
class EachView:
    """Encodes clouds as the concatenated outputs of all their views, to train what follows.

    Args:
        output: (B, 3, S, S) -> (B, C), for each view.
        width: C.
        name: of the output, for the fingerprint.
        places: item -> its cameras with distances; None: the cameras of ``clouds``.
        views: V, number of places.
    """

    clouds: CloudEncoder
    output: Callable[[Tensor], Tensor]
    width: int
    name: str
    places: Callable[[Any], Sequence[tuple[Camera, float]]] | None = None
    views: int = 0
    modality: str = "cloud"

    @property
    def dim(self) -> int:
        """Width V C."""
        return (self.views or len(self.clouds.cameras)) * self.width

    @property
    def size(self) -> int | None:
        """Side of a depth image in pixels."""
        return self.clouds.size

    @property
    def fingerprint(self) -> str:
        """Hash of the encoder and of the output."""
        return hashlib.sha256(f"{self.clouds.fingerprint}/{self.name}/{self.views}".encode()).hexdigest()[:16]

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Tensor:
        """Return (B, V, 3, S, S) pixels."""
        if self.places is None:
            return self.clouds.inputs(items, size)
        return torch.stack([self.clouds.rendered(item, self.places(item), size) for item in items])

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, V C) outputs."""
        return each_frame(self.output, x).flatten(1).float()


def pooled_views(
    backbone: Backbone, cameras: tuple[Camera, ...], radius: float, items: Samples[Any], run: Run
) -> Tensor:
    """Return the (N, V, C) outputs of the backbone's pooling for the views of N clouds; its head maps them to D.

    Raises:
        MissingHook: the backbone has neither an image tower nor dense maps.
    """
    pool, _ = image_head(backbone)
    side = backbone.image.size or 224
    with torch.no_grad():
        width = pool(torch.zeros(1, 3, side, side, device=next(backbone.module().parameters()).device)).shape[1]
    views = EachView(CloudEncoder(backbone.image, cameras, radius), pool, width, "pooled")
    return embed(views, items, run).reshape(-1, len(cameras), width)


class CloudSpace(DerivedSpace):
    """A backbone for point clouds: its "image" encoder is a ``CloudEncoder``.

    Args:
        base: the space of photos and texts.
        cameras: V views of a cloud.
        radius: of a point's disc.
        origin: the backbone from which the base was trained; None: the base.
    """

    def __init__(
        self, base: Backbone, cameras: Sequence[Camera], radius: float, origin: Backbone | None = None
    ) -> None:
        clouds = CloudEncoder(base.image, tuple(cameras), radius)
        super().__init__(base, clouds, suffix=f"clouds{len(cameras)}", origin=origin)
        self.clouds = clouds

    def parts(self) -> Parts:
        """Return cameras and radius, and the tensors of the base where it was trained."""
        return parts_of(self, {"cameras": self.clouds.cameras, "radius": self.clouds.radius})

    @classmethod
    def of_parts(cls, parts: Parts) -> CloudSpace:
        """Return the space of these parts."""
        base, origin = base_of(parts)
        return cls(base, parts.settings["cameras"], float(parts.settings["radius"]), origin)
