from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.core import DataError, Run
from diptych.features.depth_views import SIX, CloudEncoder, axes, depth_image, shaded, z_buffer
from diptych.features.embed import embed
from tests.support.clouds import shapes
from tests.support.visual_backbone import VisualBackbone


def drawn_by_loop(xyz: np.ndarray, size: int, radius: float) -> np.ndarray:
    """Return the depth buffer, pixel by pixel and point by point."""
    out = np.full((size, size), -1.0)
    for row in range(size):
        for column in range(size):
            centre = ((column + 0.5) / size * 2 - 1, 1 - (row + 0.5) / size * 2)
            for x, y, z in xyz:
                holds = int((1 + x) * size / 2) == column and int((1 - y) * size / 2) == row
                near = np.hypot(x - centre[0], y - centre[1]) <= radius
                if z > 0 and (holds or near) and (out[row, column] < 0 or z < out[row, column]):
                    out[row, column] = z
    return out


@pytest.mark.parametrize("radius", [0.01, 0.15, 0.4])
def test_the_z_buffer_is_that_of_a_loop(radius: float) -> None:
    rng = np.random.default_rng(1)
    xyz = np.column_stack([rng.uniform(-1.2, 1.2, (40, 2)), rng.uniform(-0.2, 2, 40)])
    xyz = xyz[(np.abs(xyz[:, :2]) < 1).all(1)]
    ours = z_buffer(torch.from_numpy(xyz), 14, radius)
    np.testing.assert_allclose(ours.numpy(), drawn_by_loop(xyz, 14, radius))


def test_points_outside_the_image_reach_in_by_their_disc_alone() -> None:
    out = z_buffer(torch.tensor([[1.1, 0.0, 0.5]]), 10, 0.25)
    assert (out > 0).any(0).tolist() == [False] * 9 + [True]
    assert (z_buffer(torch.tensor([[1.5, 0.0, 0.5]]), 10, 0.25) < 0).all()


def test_grey_values_are_those_of_numpy() -> None:
    z = np.random.default_rng(2).uniform(0.1, 1.9, (6, 6))
    z[::2] = -1.0
    filled = np.where(z > 0, z, 1.0)
    expected = np.where(z > 0, (filled - filled.min()) / z.max() * 200 / 255, 1.0)
    np.testing.assert_allclose(shaded(torch.from_numpy(z)).numpy(), expected)
    assert (shaded(torch.full((3, 3), -1.0)) == 1).all()


@pytest.mark.parametrize("camera", [*SIX, (225, -45), (20, 30)])
def test_axes_are_a_turned_frame(camera: tuple[float, float]) -> None:
    frame = axes(camera)
    torch.testing.assert_close(frame @ frame.T, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(frame).item() == pytest.approx(1)


def test_a_camera_sees_what_is_on_its_side() -> None:
    points = torch.tensor([[0.8, 0.0, 0.0], [0.0, 0.5, 0.0]])
    front, right = (depth_image(points, camera, 20, radius=0.06) < 1 for camera in ((0, 0), (0, 90)))
    assert front[:, 17:].any()  # x points to the right of the front camera
    assert front[:8].any()  # y points up
    assert not right[:, 17:].any()  # and x towards the camera at azimuth 90
    image = depth_image(points, (0, 90), 20, radius=0.06)
    assert image[8:12].min() < image[3:7].min() < 1  # the first point is nearer than the second


def test_a_nearer_camera_sees_a_larger_object() -> None:
    points = torch.from_numpy(shapes([0], 1).shapes[0].points / 2)
    near, far = ((depth_image(points, (0, 0), 64, distance=d) < 1).sum() for d in (0.9, 1.1))
    assert near > far


def test_the_embedding_is_the_mean_of_unit_views() -> None:
    backbone, items = VisualBackbone(), shapes([0, 1], 4)
    encoder = CloudEncoder(backbone.image, ((0, 0), (0, 90)), 0.1)
    x = encoder.inputs([items[0]])
    assert x.shape == (1, 2, 3, 16, 16)
    with torch.no_grad():
        each = backbone.image.encode(x[0])
    expected = (each / each.norm(dim=1, keepdim=True)).mean(0)
    torch.testing.assert_close(embed(encoder, items, Run())[0], expected)
    assert encoder.fingerprint != CloudEncoder(backbone.image, ((0, 0), (0, 91)), 0.1).fingerprint
    scaled = items[0].points * 7 + 3  # place and size of a cloud have no effect
    torch.testing.assert_close(encoder.inputs([scaled]), x)


def test_what_is_no_cloud_is_refused() -> None:
    encoder = CloudEncoder(VisualBackbone().image)
    for wrong, said in ((np.zeros((4, 2)), r"shape \(4, 2\)"), (np.zeros((0, 3)), r"\(0, 3\)"), ("a", "a str")):
        with pytest.raises(DataError, match=said):
            encoder.inputs([wrong])
