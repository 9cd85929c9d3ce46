from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import normalize

from diptych.core import Run
from diptych.nn.descent import Adam
from diptych.nn.sparse_autoencoder import (
    Dictionary,
    SparseAutoencoder,
    _resample,
    count_for,
    fit_dictionary,
    initial,
    losses,
    nearest_words,
    probe,
)
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
    descents = [Adam(part) for part in (start.encoder, start.encoder_bias, start.decoder, start.bias)]
    for descent in descents:
        descent.step(torch.ones_like(descent.at), 1e-3)
    dead = torch.zeros(10, dtype=torch.bool)
    dead[[2, 7]] = True
    before = start.encoder.clone()
    _resample(start, x, dead, 0.01, descents, torch.Generator().manual_seed(0))
    units = normalize(x, dim=1)
    for k in (2, 7):
        assert float((units @ start.decoder[:, k]).max()) == pytest.approx(1.0, abs=1e-5)
        expected = 0.2 * float(before[~dead].norm(dim=1).mean())
        assert float(start.encoder[k].norm()) == pytest.approx(expected, rel=1e-4)
        assert float(start.encoder_bias[k]) == 0.0
    assert torch.equal(start.encoder[~dead], before[~dead])
    for rows in (descents[0].mean, descents[0].square, descents[1].mean, descents[2].mean.T, descents[2].square.T):
        assert not rows[dead].any()
        assert rows[~dead].all()


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
    descents = [Adam(part) for part in (silent.encoder, silent.encoder_bias, silent.decoder, silent.bias)]
    g, second = torch.Generator().manual_seed(0), 0
    for _ in range(1000):
        _resample(silent, x, torch.tensor([True]), 0.0, descents, g)
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


def test_probe_without_penalty_nears_scikit_learns() -> None:
    g = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 3
    f = (torch.randn(300, 6, generator=g) + torch.eye(6)[y]).relu()
    w = probe(f, y, 3, 0.05, 0.0, 400, Run())
    oracle = LogisticRegression(C=1e6, fit_intercept=False, max_iter=2000).fit(f.numpy(), y.numpy())
    torch.testing.assert_close(
        (f @ w.T).softmax(1), torch.tensor(oracle.predict_proba(f.numpy())).float(), rtol=0.05, atol=0.02
    )


def test_the_probe_equals_a_plain_loop() -> None:
    """All items are one batch: Adam on the cross-entropy and lambda times the mean of |W|, written out."""
    g = torch.Generator().manual_seed(0)
    y, f = torch.arange(30) % 3, torch.rand(30, 5, generator=g)
    w, first, second = torch.zeros(3, 5), torch.zeros(3, 5), torch.zeros(3, 5)
    for step in range(1, 7):
        p = (f @ w.T).softmax(dim=1)
        grad = (p - torch.eye(3)[y]).T @ f / 30 + 0.7 * w.sign() / 15
        first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad**2
        w = w - 0.02 * first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    torch.testing.assert_close(probe(f, y, 3, 0.02, 0.7, 6, Run()), w, rtol=1e-3, atol=1e-5)


def test_a_penalty_makes_the_layer_sparse() -> None:
    g = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    f = torch.cat([torch.eye(2)[y] * 2, torch.rand(200, 8, generator=g)], dim=1)
    small, large = (probe(f, y, 2, 0.05, weight, 300, Run()).abs() for weight in (0.0, 5.0))
    assert large[:, 2:].mean() < 0.1 * small[:, 2:].mean()
    assert large[:, :2].mean() > 10 * large[:, 2:].mean()


def test_names_are_the_nearest_words() -> None:
    decoder, words = normalize(torch.randn(8, 700), dim=0), normalize(torch.randn(30, 8), dim=1)
    place, cosines = nearest_words(decoder, words)
    for k in (0, 511, 512, 699):
        every = [float(words[w] @ decoder[:, k]) for w in range(30)]
        assert int(place[k]) == int(np.argmax(every))
        assert float(cosines[k]) == pytest.approx(max(every), abs=1e-6)


def test_the_count_starts_at_one() -> None:
    """Pitfall: the released metric returns the place of the last concept, from 0, and not how many there are."""
    shares = torch.tensor([[0.0, 9.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.0]])
    assert count_for(shares, 0.9).tolist() == [1, 4, 0, 1]
    assert count_for(shares, 0.91).tolist() == [2, 4, 0, 1]
    assert count_for(shares, 1.0).tolist() == [2, 4, 0, 1]
