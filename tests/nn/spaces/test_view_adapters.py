from __future__ import annotations

import numpy as np
import torch

from diptych.nn.spaces.view_adapters import ViewAdapter, dual_path


def test_the_adapter_is_that_of_numpy() -> None:
    torch.manual_seed(0)
    adapter = ViewAdapter(3, 4, 5, 0.5).eval()
    for norm in (adapter.before, adapter.between):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    adapter.weights.data = torch.tensor([0.2, 0.5, 1.5])
    x = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    p = {n: t.detach().numpy() for n, t in adapter.state_dict().items()}

    def normed(h: np.ndarray, name: str) -> np.ndarray:
        scaled = (h - p[f"{name}.running_mean"]) / np.sqrt(p[f"{name}.running_var"] + 1e-5)
        return np.asarray(scaled * p[f"{name}.weight"] + p[f"{name}.bias"])

    h = normed(x * p["weights"][None, :, None], "before").reshape(2, 12)
    h = np.maximum(normed(h @ p["joint.weight"].T + p["joint.bias"], "between"), 0)
    expected = h @ p["out.weight"].T + p["out.bias"]
    with torch.no_grad():
        np.testing.assert_allclose(adapter(torch.from_numpy(x)).numpy(), expected, rtol=1e-4, atol=1e-5)
        one = dual_path(torch.nn.ModuleDict({"image": adapter}), torch.zeros(2, 3, 4), torch.from_numpy(x))
        np.testing.assert_allclose(one.numpy(), expected, rtol=1e-4, atol=1e-5)
