from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from diptych.core import MissingExtra, Samples, UnreadableItem, UsageError
from diptych.data.formats import points
from diptych.data.formats.points import Clouds, clouds, read_cloud, unit_sphere
from diptych.data.formats.typed import read_typed

CLOUD = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


def test_every_file_holds_the_same_cloud(tmp_path: Path) -> None:
    import trimesh

    np.save(tmp_path / "a.npy", np.hstack([CLOUD, CLOUD]))
    np.savetxt(tmp_path / "a.xyz", CLOUD)
    np.savetxt(tmp_path / "a.txt", np.hstack([CLOUD, CLOUD]), delimiter=",", header="x y z")
    (tmp_path / "a.pts").write_text("50\n" + (tmp_path / "a.xyz").read_text() + "\n")
    trimesh.PointCloud(CLOUD).export(tmp_path / "a.ply")
    for ending in ("npy", "xyz", "txt", "pts", "ply"):
        cloud = read_cloud(tmp_path / f"a.{ending}")
        assert cloud.dtype == np.float32
        np.testing.assert_allclose(cloud, CLOUD, atol=1e-6)


@pytest.mark.parametrize("ending", ["off", "obj", "stl", "ply"])
def test_points_on_a_mesh(tmp_path: Path, ending: str) -> None:
    import trimesh

    box = trimesh.creation.box((1, 2, 4))
    box.export(tmp_path / f"a.{ending}")
    cloud = read_cloud(tmp_path / f"a.{ending}", points=8000, seed=3)
    assert cloud.shape == (8000, 3)
    np.testing.assert_allclose(np.abs(cloud / [0.5, 1, 2]).max(axis=1), 1, atol=1e-5)  # all on the surface
    on = [float((np.abs(np.abs(cloud[:, i]) - half) < 1e-5).mean()) for i, half in enumerate((0.5, 1, 2))]
    np.testing.assert_allclose(on, np.array([16, 8, 4]) / 28, atol=0.03)  # by area
    np.testing.assert_allclose(cloud.mean(axis=0), 0, atol=0.08)
    assert np.array_equal(cloud, read_cloud(tmp_path / f"a.{ending}", points=8000, seed=3))
    assert not np.array_equal(cloud, read_cloud(tmp_path / f"a.{ending}", points=8000, seed=4))


def test_samples(tmp_path: Path) -> None:
    import trimesh

    trimesh.creation.box().export(tmp_path / "a.off")
    (tmp_path / "b.off").write_bytes((tmp_path / "a.off").read_bytes())
    items = Clouds([tmp_path / "a.off", tmp_path / "b.off"], points=20)
    assert isinstance(items, Samples)
    assert items[0].shape == (20, 3)
    assert np.array_equal(items[0], items[1])  # a draw belongs to the content
    assert items.key(0) == items.key(1) != Clouds(items.paths, points=21).key(0)
    (tmp_path / "t.csv").write_text("cloud\na.off\n")
    assert read_typed(tmp_path / "t.csv", {}, "cloud", clouds).splits["test"].items[0].shape == (1024, 3)
    with pytest.raises(UsageError, match="got 0"):
        Clouds([], points=0)


def test_unit_sphere() -> None:
    cloud = unit_sphere(CLOUD * 7 + 3)
    np.testing.assert_allclose(cloud.mean(axis=0), 0, atol=1e-6)
    assert np.linalg.norm(cloud, axis=1).max() == pytest.approx(1)
    assert unit_sphere(np.ones((1, 3), dtype=np.float32)).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.xyz", b"", "holds no points"),
        ("a.xyz", b"1 2\n", "holds no points"),
        ("a.xyz", b"1 2 three\n", "damaged .xyz"),
        ("a.xyz", b"1 2 nan\n", "not finite"),
        ("a.xyz", b"1 2 3\n1 2\n", "damaged .xyz"),
        ("a.xyz", b"\xff\xfe", "damaged .xyz"),
        ("a.npy", b"words", "read safely"),
        ("a.ply", b"words", "damaged .ply"),
        (
            "a.ply",
            b"ply\nformat binary_little_endian 1.0\nelement vertex 99999999\nproperty float x\nend_header\n",
            "damaged .ply",
        ),
        ("a.off", b"OFF\n3 1 0\n", "damaged .off"),
        ("a.obj", b"words", "holds no points"),
        ("a.pcd", b"words", "no point cloud of a known format"),
    ],
)
def test_clouds_that_cannot_be_read(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnreadableItem, match=message):
        read_cloud(tmp_path / name)


def test_more_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableItem, match="no such file"):
        read_cloud(tmp_path / "a.npy")
    (tmp_path / "a.ply").write_bytes(b"ply")
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(MissingExtra, match=r"\.\[points\]"):
        read_cloud(tmp_path / "a.ply")
    monkeypatch.setattr(points, "MAX_BYTES", 2)
    with pytest.raises(UnreadableItem, match="more than"):
        read_cloud(tmp_path / "a.ply")
