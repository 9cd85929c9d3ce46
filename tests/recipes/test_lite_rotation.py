from __future__ import annotations

import torch
from torch.nn.functional import normalize

from recipes.lite_rotation import nearest_scale, rotation, second_moment


def test_directions_come_by_their_share_of_the_squared_length() -> None:
    """Vectors in a plane of five dimensions, longer along one axis: two columns hold them whole, the longer first."""
    g = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(5, 5, generator=g)).Q[:, :2]
    x = torch.randn(200, 2, generator=g) * torch.tensor([3.0, 1.0]) @ axes.T
    turn = rotation([second_moment(x), second_moment(2 * x)], 2).float()
    assert torch.allclose(turn.T @ turn, torch.eye(2), atol=1e-6)
    assert torch.allclose((x @ turn).norm(dim=1), x.norm(dim=1), atol=1e-5)
    shares = (normalize(x, dim=1) @ turn).square().mean(0)
    assert shares[0] > shares[1]
    assert bool((turn.gather(0, turn.abs().argmax(0, keepdim=True)) > 0).all())


def test_the_scale_gives_the_logits_of_whole_vectors() -> None:
    """Photos and texts that share two of four directions: without the others, cosines of 1/2 and 0 become 1 and 0."""
    x = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
    t = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
    assert abs(nearest_scale(x, t, torch.eye(4)[:, :2], 10.0) - 5) < 1e-5
