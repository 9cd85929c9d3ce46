from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.core.run import Run
from diptych.nn.sparse_autoencoder import Dictionary, SparseAutoencoder, _resample, fit_dictionary, initial, losses
from tests.support.refused import refused


def sparse_data(count: int = 400, n: int = 12, atoms: int = 18) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (N, n) sums of two atoms each, and the (atoms, n) unit atoms."""
    g = torch.Generator().manual_seed(0)
    directions = normalize(torch.randn(atoms, n, generator=g), dim=1)
    codes = torch.zeros(count, atoms)
    for row in codes:
        row[torch.randperm(atoms, generator=g)[:2]] = 1 + torch.rand(2, generator=g)
    return codes @ directions, directions


def test_loss_equals_a_loop() -> None:
    x, _ = sparse_data(5)
    sae = initial(12, 20, torch.Generator().manual_seed(1))
    e, be, d, b = (t.double().numpy() for t in (sae.encoder, sae.encoder_bias, sae.decoder, sae.bias))
    for row, loss in zip(x.double().numpy(), losses(sae, x, 0.3).tolist(), strict=True):
        f = np.maximum(0, e @ (row - b) + be)
        assert loss == pytest.approx(np.mean((row - (d @ f + b)) ** 2) + 0.3 * f.sum(), rel=1e-4)


def test_start_goes_by_the_fan_in() -> None:
    """Pitfall: with a spare axis, the bound of the bias is 1/sqrt(m) and the rows are far too small."""
    sae = initial(16, 4096, torch.Generator().manual_seed(0))
    assert 0.24 < float(sae.encoder_bias.abs().max()) <= 0.25
    assert 0.6 < float(sae.encoder.abs().max()) <= (6 / 16) ** 0.5
    torch.testing.assert_close(sae.decoder.norm(dim=0), torch.ones(4096))


def test_it_rebuilds_sparse_sums_and_not_independent_dimensions() -> None:
    x, _ = sparse_data()
    settings = Dictionary(36, 3e-3, epochs=60, rate=3e-3)
    shuffled = torch.stack(
        [c[torch.randperm(len(c), generator=torch.Generator().manual_seed(j))] for j, c in enumerate(x.T)], dim=1
    )
    found = {}
    for name, data in (("real", x), ("shuffled", shuffled)):
        sae = fit_dictionary(data, settings, Run())
        torch.testing.assert_close(sae.decoder.norm(dim=0), torch.ones(36))
        assert not sae.decoder.requires_grad
        error = (data - sae.decoded(sae.codes(data))).square().mean() / data.var(dim=0, unbiased=False).mean()
        found[name] = (1 - float(error), float((sae.codes(data) > 0).sum(dim=1).float().mean()))
    start = initial(12, 36, torch.Generator().manual_seed(0))
    untrained = 1 - float((x - start.decoded(start.codes(x))).square().mean() / x.var(dim=0, unbiased=False).mean())
    assert found["real"][0] > 0.9 > untrained
    assert found["real"][0] > found["shuffled"][0]


def test_more_sparsity_fewer_active_units() -> None:
    x, _ = sparse_data(200)
    active = [
        float((fit_dictionary(x, Dictionary(24, s, 30, 3e-3), Run()).codes(x) > 0).float().mean())
        for s in (0.0, 1e-2, 1.0)
    ]
    assert active == sorted(active, reverse=True)
    assert active[0] > active[2]


def test_dead_units_start_anew_at_embeddings_and_forget_their_moments() -> None:
    x, _ = sparse_data(50)
    start = initial(12, 10, torch.Generator().manual_seed(1))
    parameters = [t.requires_grad_(True) for t in (start.encoder, start.encoder_bias, start.decoder, start.bias)]
    optimiser = torch.optim.Adam(parameters, lr=1e-3)
    losses(start, x, 0.01).mean().backward()
    optimiser.step()
    dead = torch.zeros(10, dtype=torch.bool)
    dead[[2, 7]] = True
    before = start.encoder.detach().clone()
    _resample(start, x, dead, 0.01, optimiser, torch.Generator().manual_seed(0))
    units = normalize(x, dim=1)
    for k in (2, 7):
        assert float((units @ start.decoder[:, k].detach()).max()) == pytest.approx(1.0, abs=1e-5)
        expected = 0.2 * float(before[~dead].norm(dim=1).mean())
        assert float(start.encoder[k].detach().norm()) == pytest.approx(expected, rel=1e-4)
        assert float(start.encoder_bias[k].detach()) == 0.0
    assert torch.equal(start.encoder.detach()[~dead], before[~dead])
    assert not optimiser.state[start.encoder]["exp_avg"][dead].any()
    assert optimiser.state[start.encoder]["exp_avg"][~dead].any()


def test_training_equals_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """All embeddings are one batch: gradients lose their part along a column, then Adam, then unit norm."""
    monkeypatch.setattr("diptych.nn.sparse_autoencoder.STEPS", 1)
    x, _ = sparse_data(30)
    got = fit_dictionary(x, Dictionary(15, 0.02, epochs=4, rate=0.05, resample=0), Run())
    start = initial(12, 15, Run().generator("dictionary"))
    names = ("encoder", "encoder_bias", "decoder", "bias")
    p = {name: getattr(start, name) for name in names}
    moments = {name: (torch.zeros_like(v), torch.zeros_like(v)) for name, v in p.items()}
    for step in range(1, 5):
        p = {name: v.detach().requires_grad_() for name, v in p.items()}
        f = ((x - p["bias"]) @ p["encoder"].T + p["encoder_bias"]).relu()
        loss = ((x - f @ p["decoder"].T - p["bias"]) ** 2).sum() / x.numel() + 0.02 * f.abs().sum() / len(x)
        grads = dict(zip(names, torch.autograd.grad(loss, [p[name] for name in names]), strict=True))
        for k in range(15):
            column = p["decoder"].detach()[:, k]
            grads["decoder"][:, k] -= (grads["decoder"][:, k] @ column) * column
        for name, grad in grads.items():
            a, b = moments[name]
            moments[name] = a, b = 0.9 * a + 0.1 * grad, 0.999 * b + 0.001 * grad**2
            change = a / (1 - 0.9**step) / ((b / (1 - 0.999**step)).sqrt() + 1e-8)
            p[name] = p[name].detach() - 0.05 * change
        p["decoder"] = p["decoder"] / p["decoder"].norm(dim=0)
    for name in names:
        torch.testing.assert_close(getattr(got, name), p[name], rtol=1e-3, atol=1e-5)


def test_dead_units_start_at_embeddings_by_their_squared_loss() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    silent = SparseAutoencoder(torch.zeros(1, 2), torch.zeros(1), torch.tensor([[1.0], [0.0]]), torch.zeros(2))
    loss = losses(silent, x, 0.0)
    assert loss.tolist() == [0.5, 2.0]
    optimiser, g, second = torch.optim.Adam([torch.zeros(1)]), torch.Generator().manual_seed(0), 0
    for t in (silent.encoder, silent.encoder_bias, silent.decoder):
        optimiser.state[t] = {"exp_avg": torch.zeros_like(t), "exp_avg_sq": torch.zeros_like(t)}
    for _ in range(1000):
        _resample(silent, x, torch.tensor([True]), 0.0, optimiser, g)
        second += int(silent.decoder[1, 0] == 1)
        silent.decoder[:] = torch.tensor([[1.0], [0.0]])
        silent.encoder.zero_()
    assert second / 1000 == pytest.approx(2.0**2 / (2.0**2 + 0.5**2), abs=0.03)


def test_units_start_anew_after_every_so_many_epochs_but_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr("diptych.nn.sparse_autoencoder._resample", lambda *given: calls.append(1))
    for epochs, expected in ((25, 1), (30, 2), (19, 0), (20, 1)):
        calls.clear()
        fit_dictionary(sparse_data(5)[0], Dictionary(4, 0.1, epochs=epochs, resample=10), Run())
        assert len(calls) == expected


def test_fewer_images_than_dead_units_are_no_error() -> None:
    """Pitfall: the released resampler raises where there are fewer rows than it wants."""
    x, _ = sparse_data(3)
    assert isinstance(fit_dictionary(x, Dictionary(40, 10.0, epochs=25, resample=5), Run()), SparseAutoencoder)


def test_same_seed_same_bits_and_bad_input() -> None:
    x, _ = sparse_data(40)
    one, two = (fit_dictionary(x, Dictionary(8, 0.01, epochs=3), Run(seed=4)) for _ in range(2))
    assert torch.equal(one.decoder, two.decoder)
    settings = partial(Dictionary, units=2, sparsity=0.1)
    refused(settings, {"units": 0}, {"sparsity": -1.0}, {"rate": 0.0}, {"batch": 0}, {"epochs": -1})
