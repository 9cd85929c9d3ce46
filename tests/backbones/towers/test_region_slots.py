"""One layer of the decoder of slots, against NumPy."""

from __future__ import annotations

import numpy as np
import torch

from diptych.backbones.towers.region_slots import SlotLayer


def test_a_layer_against_numpy() -> None:
    torch.manual_seed(0)
    layer = SlotLayer(4, 1, 6, 0.5).eval()
    h, codes, memory = (torch.randn(1, n, 4) for n in (2, 2, 3))
    w = {n: p.detach().double().numpy() for n, p in layer.state_dict().items()}

    def norm(a, i):
        a = (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)
        return a * w[f"norms.{i}.weight"] + w[f"norms.{i}.bias"]

    def attend(name, q, k, v):
        weights, biases = (np.split(w[f"{name}.in_proj_{kind}"], 3) for kind in ("weight", "bias"))
        q, k, v = (a @ m.T + b for a, m, b in zip((q, k, v), weights, biases, strict=True))
        logits = np.exp(q @ k.T / 2)
        return (logits / logits.sum(1, keepdims=True)) @ v @ w[f"{name}.out_proj.weight"].T + w[f"{name}.out_proj.bias"]

    a, c, m = (t[0].double().numpy() for t in (h, codes, memory))
    n = norm(a, 0)
    a = a + attend("own", n + c, n + c, n)
    a = a + attend("other", norm(a, 1) + c, m, m)
    expected = a + np.maximum(norm(a, 2) @ w["up.weight"].T + w["up.bias"], 0) @ w["down.weight"].T + w["down.bias"]
    np.testing.assert_allclose(layer(h, codes, memory)[0].detach().numpy(), expected, atol=1e-5)
