from __future__ import annotations

import torch

from diptych.nn.style_net import CLIPPED, StyleNet


def test_it_begins_as_the_identity_at_any_size() -> None:
    net = StyleNet(4)
    for size in ((16, 16), (17, 30)):
        x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(net(x), x.clamp(CLIPPED, 1 - CLIPPED), rtol=1e-5, atol=1e-6)


def test_gradients_reach_the_first_layer_once_the_last_one_has_moved() -> None:
    net = StyleNet(4)
    with torch.no_grad():
        net.last.weight.normal_(generator=torch.Generator().manual_seed(1))
    x = torch.rand(1, 3, 12, 12)
    y = net(x)
    assert bool((y > 0).all())
    assert bool((y < 1).all())
    y.sum().backward()
    first = net.down[0].weight.grad  # type: ignore[union-attr]
    assert first is not None
    assert float(first.abs().sum()) > 0  # type: ignore[operator, arg-type]
