"""Point clouds: .npy and text files with NumPy, .ply and meshes with trimesh."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError, MissingExtra, Samples, UnreadableItem, UsageError
from diptych.core.errors import need_extra
from diptych.data.formats.arrays import open_npy
from diptych.data.inside import all_inside
from diptych.data.keys import FileKeys, KeyedFiles

SUFFIXES = frozenset((".npy", ".xyz", ".txt", ".pts", ".ply", ".off", ".obj", ".stl"))
MAX_BYTES = 512 * 2**20
"""Largest file, in bytes."""


@dataclass(frozen=True)
class Clouds(KeyedFiles):
    """Files of points as samples: an item is (P, 3) float32, as stored (see ``unit_sphere``).

    Args:
        paths: N files that end in .npy, .xyz, .txt, .pts, .ply, .off, .obj or .stl; all but the first four need the
            extra "points".
        points: number of points drawn on the surface of a mesh, uniformly by area and fixed by the file's content.
            Clouds keep all their points.
    """

    paths: Sequence[str]
    points: int = 1024
    keys: FileKeys | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.points < 1:
            raise UsageError(f"points must be at least 1 a mesh, got {self.points}.")
        super().__post_init__()

    def __getitem__(self, index: int, /) -> NDArray[np.float32]:
        keys: FileKeys = self.__dict__["_keys"]
        return read_cloud(self.paths[index], self.points, int(keys.key(self.paths[index])[:16], 16))

    def key(self, index: int, /) -> str:
        """Return the hash of the file's key and the number of points.

        Raises:
            UnreadableItem: the file is missing.
        """
        keys: FileKeys = self.__dict__["_keys"]
        return hashlib.sha256(f"{keys.key(self.paths[index])}/{self.points}".encode()).hexdigest()


def read_cloud(path: str | os.PathLike[str], points: int = 1024, seed: int = 0) -> NDArray[np.float32]:
    """Return (P, 3) points of a cloud, or (points, 3) drawn on a mesh.

    Args:
        path: see ``Clouds``. Text files have x y z in each row, separated by spaces or commas; further numbers (colour,
            normal) are not read.
        points: number of points drawn on a mesh.
        seed: seed of the draw, from 0.

    Raises:
        MissingExtra: a .ply or mesh, and trimesh is not installed.
        UnreadableItem: no such file, too large, damaged, no points, or numbers that are not finite.
    """
    name, kind = os.fspath(path), Path(path).suffix.lower()
    if not Path(path).is_file():
        raise UnreadableItem(name, "no such file")
    if kind not in SUFFIXES:
        raise UnreadableItem(name, f"no point cloud of a known format ({kind or 'no ending'})")
    if Path(path).stat().st_size > MAX_BYTES:
        raise UnreadableItem(name, f"more than {MAX_BYTES // 2**20} MiB")
    try:
        if kind == ".npy":
            values = open_npy(path)
        elif kind in (".xyz", ".txt", ".pts"):
            values = _from_text(path)
        else:
            values = _from_trimesh(name, kind, points, seed)
        if values.ndim != 2 or values.shape[1] < 3 or not len(values) or values.dtype.kind not in "fiu":
            raise UnreadableItem(name, f"holds no points with x, y and z, but {values.dtype} {values.shape}")
        cloud = np.array(values[:, :3], dtype=np.float32)
    except (UnreadableItem, MissingExtra, MemoryError):
        raise
    except DataError as error:
        raise UnreadableItem(name, str(error).removeprefix(f"{path} ")[:160]) from None
    except Exception as error:  # parsers raise all kinds of exceptions on damaged bytes
        raise UnreadableItem(name, f"damaged {kind} file ({(str(error) or type(error).__name__)[:80]})") from error
    if not np.isfinite(cloud).all():
        raise UnreadableItem(name, "holds numbers that are not finite")
    return cloud


def unit_sphere(cloud: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (P, 3) points centred at their mean and scaled to a largest distance of 1; one point stays at 0.

    Source: PointNet (CVPR 2017), section 5.1.
    """
    centred = cloud.astype(np.float64) - cloud.mean(axis=0, dtype=np.float64)
    reach = np.sqrt((centred**2).sum(axis=1)).max()
    scaled: NDArray[np.float32] = (centred / (reach or 1.0)).astype(np.float32)
    return scaled


def _from_text(path: str | os.PathLike[str]) -> NDArray[Any]:
    with open(path, encoding="utf-8-sig") as file:
        rows = [line.replace(",", " ").split() for line in file]
    rows = [r for r in rows if r and not r[0].startswith(("#", "//"))]
    if rows and len(rows[0]) == 1:  # .xyz and .pts may begin with the number of points
        rows = rows[1:]
    return np.array([[float(v) for v in r[:3]] for r in rows], dtype=np.float64)


def _from_trimesh(name: str, kind: str, points: int, seed: int) -> NDArray[Any]:
    need_extra("points", "Reading .ply files and meshes")
    import trimesh

    with open(name, "rb") as file:  # an open file, without a resolver: no materials, no other files, no addresses
        shape = trimesh.load(file, file_type=kind[1:], force=None if kind == ".ply" else "mesh", process=False)
    faces = np.asarray(getattr(shape, "faces", ()))
    vertices = np.asarray(getattr(shape, "vertices", np.empty((0, 3))))
    return _on_surface(vertices[faces], points, seed) if faces.size else vertices


def _on_surface(triangles: NDArray[np.float64], points: int, seed: int) -> NDArray[np.float64]:
    """Return (points, 3) points on (F, 3, 3) triangles, uniform by area.

    Source: Osada et al., Shape Distributions (ACM TOG 2002), section 4.2, equation 1.
    """
    area = np.sqrt((np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]) ** 2).sum(axis=1))
    if not (np.isfinite(area).all() and area.sum() > 0):
        raise ValueError("no surface")
    uniform = np.random.Generator(np.random.Philox(key=seed)).random(
        (3, points)
    )  # raw doubles only: the stream that NumPy keeps stable
    ends = np.cumsum(area / area.sum())
    drawn_triangles = triangles[np.minimum(np.searchsorted(ends, uniform[0], side="right"), len(triangles) - 1)]
    root, other = np.sqrt(uniform[1])[:, None], uniform[2][:, None]
    drawn: NDArray[np.float64] = (
        (1 - root) * drawn_triangles[:, 0]
        + root * (1 - other) * drawn_triangles[:, 1]
        + root * other * drawn_triangles[:, 2]
    )
    return drawn


def clouds(folder: str, cells: Sequence[str]) -> Samples[NDArray[np.float32]]:
    """Open the cells of a table as point clouds, for ``read_typed``."""
    return Clouds(all_inside(folder, cells))
