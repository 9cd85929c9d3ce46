from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from diptych.nn.spaces.viewpoints import blurred, crops_inside, homography, viewed


def test_a_blur_is_scipy_s() -> None:
    masks = (torch.rand(2, 20, 24, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    expected = np.stack([gaussian_filter(m.numpy(), 1.5, mode="nearest", truncate=3.34) for m in masks])
    np.testing.assert_allclose(blurred(masks, 1.5).numpy(), expected, atol=2e-3)
    assert torch.equal(blurred(masks, 0), masks)
    torch.testing.assert_close(blurred(torch.ones(1, 9, 9), 2.0), torch.ones(1, 9, 9))


def test_crops_lie_in_the_mask_or_where_most_of_it_is() -> None:
    shares = torch.tensor([[0.1, 0.6], [0.9, 0.2]])
    assert crops_inside(shares, 8).tolist() == [[1, 0, 8], [0, 1, 8]]
    assert crops_inside(shares / 3, 8).tolist() == [[0, 1, 8]]


def test_without_distortion_a_crop_is_its_pixels_and_the_same_in_all_pictures() -> None:
    pictures = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    places = torch.tensor([[5, 2, 6]])
    found = viewed(pictures, places, 3, 0.0, torch.Generator().manual_seed(1))
    assert found.shape == (2, 3, 3, 6, 6)
    for b in range(2):
        for k in range(3):
            torch.testing.assert_close(found[b, k], pictures[b, :, 2:8, 5:11], rtol=1e-4, atol=1e-5)


def test_viewpoints_are_drawn_by_the_generator_and_keep_gradients() -> None:
    pictures = torch.rand(1, 3, 12, 12, requires_grad=True)
    places = torch.tensor([[0, 0, 8], [4, 4, 8]])
    first, second = (viewed(pictures, places, 4, 0.5, torch.Generator().manual_seed(s)) for s in (1, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, viewed(pictures, places, 4, 0.5, torch.Generator().manual_seed(2)))
    first.sum().backward()
    assert pictures.grad is not None
    assert float(pictures.grad.abs().sum()) > 0


def test_homographies_take_corners_to_corners() -> None:
    square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    moved = square + 0.2 * torch.rand(5, 4, 2, generator=torch.Generator().manual_seed(0))
    h = homography(moved)
    ends = torch.cat([square, torch.ones(4, 1)], dim=1) @ h.transpose(1, 2)
    torch.testing.assert_close(ends[..., :2] / ends[..., 2:], moved, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(homography(square[None])[0], torch.eye(3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [1, 5])
def test_the_number_of_crops_is_as_asked(count: int) -> None:
    places = torch.tensor([[0, 0, 4]])
    assert viewed(torch.rand(1, 3, 8, 8), places, count, 0.3, torch.Generator()).shape == (1, count, 3, 4, 4)
