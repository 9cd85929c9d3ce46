from __future__ import annotations

import numpy as np
import torch

from diptych.nn.text_adapters import LARGEST, MapAdapter, MapAdapters, Refinement


def test_an_adapter_against_numpy() -> None:
    g = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    adapter = MapAdapter(4, 6, 2)
    c, e = torch.randn(2, 4, 5, 5, generator=g), torch.randn(2, 6, generator=g)
    found = adapter(c, e).detach().numpy()
    weight = adapter.conv.weight.detach().numpy()

    def mlp(net: torch.nn.Sequential, x: np.ndarray) -> np.ndarray:
        first, last = net[0], net[3]
        h = x @ first.weight.detach().numpy().T + first.bias.detach().numpy()
        h = (h - h.mean()) / np.sqrt(h.var() + 1e-5)
        h = np.where(h > 0, h, 0.01 * h)
        return h @ last.weight.detach().numpy().T + last.bias.detach().numpy()

    for b in range(2):
        x = c[b].numpy() / np.sqrt((c[b].numpy() ** 2).mean(0) + 1e-8)
        wide = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        y = np.zeros((4, 5, 5))
        for o in range(4):
            for i in range(5):
                for j in range(5):
                    y[o, i, j] = (weight[o] * wide[:, i : i + 3, j : j + 3]).sum()
        for group in (slice(0, 2), slice(2, 4)):
            y[group] = (y[group] - y[group].mean()) / np.sqrt(y[group].var() + 1e-5)
        gain, shift = (mlp(net, e[b].numpy())[:, None, None] for net in (adapter.gain, adapter.shift))
        y = y * (1 + np.exp(gain)) + shift
        np.testing.assert_allclose(found[b], np.where(y > 0, y, 0.01 * y), rtol=1e-3, atol=1e-4)


def test_the_paper_s_networks_have_as_many_weights_as_the_authors_state() -> None:
    with torch.device("meta"):
        nets = MapAdapters((128, 256, 512), 512, 32), Refinement(18, 512, 512, 512)
    assert [round(sum(p.numel() for p in net.parameters()) / 1e6, 2) for net in nets] == [5.60, 12.62]


def test_a_gain_cannot_overflow() -> None:
    adapter = MapAdapter(2, 3, 1)
    with torch.no_grad():
        adapter.gain[3].bias.fill_(1000.0)
    out = adapter(torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 3))
    assert float(out.detach().abs().max()) < 10 * float(np.exp(LARGEST))


def test_each_map_has_its_own_adapter() -> None:
    maps = tuple(torch.ones(1, width, side, side) for width, side in ((4, 4), (8, 2)))
    found = MapAdapters((4, 8), 3, 2)(maps, torch.ones(1, 3))
    assert [m.shape for m in found] == [m.shape for m in maps]


def test_the_refinement_pulls_all_but_the_first_and_the_last_and_nothing_at_strength_0() -> None:
    net = Refinement(5, 3, 4, 6)
    w, e = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0)), torch.ones(2, 3)
    found = net(w, e)
    assert torch.equal(found[:, [0, -1]], w[:, [0, -1]])
    assert torch.equal(net(w, e, 0.0), w)
    told = torch.stack([n(e) for n in net.each], 1)
    share = 0.9 * 0.05
    torch.testing.assert_close(found[:, 1:-1], (1 - share) * w[:, 1:-1] + share * told)
    with torch.no_grad():
        net.pull.fill_(0.0)
    assert torch.equal(net(w, e), w)
