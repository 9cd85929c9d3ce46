from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from diptych.core import Run
from diptych.nn.dense.content_transfer import ContentTransfer, sine_positions


def transfer() -> ContentTransfer:
    with Run().seeded("test"):
        made = ContentTransfer(12, width=6, heads=2)
        torch.nn.init.normal_(made.out.weight)
        torch.nn.init.normal_(made.norm.weight)
        torch.nn.init.normal_(made.norm.bias)
    return made.eval()


@torch.no_grad()
def test_the_attention_by_loops() -> None:
    g = torch.Generator().manual_seed(1)
    words, cells = F.normalize(torch.randn(3, 12, generator=g), dim=-1), torch.randn(2, 12, 2, 3, generator=g)
    net = transfer()
    got = net(words, cells).double().numpy()
    w = {k: v.double().numpy() for k, v in net.state_dict().items()}
    positions = sine_positions(cells)[0].double().numpy()
    in_bias = w["attend.in_proj_bias"].reshape(3, 6)
    for b in range(2):
        flat = cells[b].flatten(1).T.double().numpy()
        values = (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, keepdims=True) + 1e-5)
        asked = words.double().numpy() @ w["ask.weight"].T + w["ask.bias"]
        q = asked @ w["attend.q_proj_weight"].T + in_bias[0]
        k = (values + positions) @ w["attend.k_proj_weight"].T + in_bias[1]
        v = values @ w["attend.v_proj_weight"].T + in_bias[2]
        heads = []
        for h in (slice(0, 3), slice(3, 6)):
            share = np.exp(q[:, h] @ k[:, h].T / np.sqrt(3))
            heads.append(share / share.sum(1, keepdims=True) @ v[:, h])
        a = np.concatenate(heads, 1) @ w["attend.out_proj.weight"].T + w["attend.out_proj.bias"]
        a = a @ w["out.weight"].T + w["out.bias"]
        normed = (a - a.mean(1, keepdims=True)) / np.sqrt(a.var(1, keepdims=True) + 1e-5)
        expected = words.double().numpy() + normed * w["norm.weight"] + w["norm.bias"]
        np.testing.assert_allclose(got[b], expected, atol=1e-4)


def test_it_begins_as_the_words_and_learns_at_once() -> None:
    with Run().seeded("test"):
        net = ContentTransfer(12, width=6, heads=2)
    words, cells = torch.eye(12)[:2], torch.randn(1, 12, 2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net(words, cells)[0], words)
    step = torch.optim.AdamW(net.parameters(), 1e-3)
    for _ in range(2):  # the first step moves the gain, from the second on all else learns too
        before = net.out.weight.detach().clone()
        step.zero_grad()
        net(words, cells)[..., 0].sum().backward()
        step.step()
    assert not torch.equal(net.norm.weight, torch.zeros(12))
    assert float((net.out.weight.detach() - before).abs().max()) > 1e-5
    moved = (net(words, cells)[0] - words).detach().norm(dim=-1)
    assert 0 < float(moved.max()) < 0.1  # words stay what they were; with W at zero instead they move by about sqrt(12)


def test_each_position_has_its_own_code_whatever_the_width() -> None:
    for dim in (4, 7, 12):
        code = sine_positions(torch.zeros(1, dim, 3, 4))[0]
        assert code.shape == (12, dim)
        assert len({tuple(row) for row in code.round(decimals=4).tolist()}) == 12
