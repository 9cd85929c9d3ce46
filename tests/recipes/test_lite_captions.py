"""The closed form of the caption panel."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.nn.functional import normalize

from recipes.lite_captions import Captioned, found, learn, permuted


def drawn(photos: int = 60) -> Captioned:
    """Photos and their two captions each, which share three directions."""
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(photos, 3, generator=g)
    owner = torch.arange(photos).repeat_interleave(2)
    x = hidden @ torch.randn(3, 12, generator=g) + 0.1 * torch.randn(photos, 12, generator=g)
    t = hidden[owner] @ torch.randn(3, 8, generator=g) + 0.1 * torch.randn(2 * photos, 8, generator=g)
    return Captioned(x, t, owner)


def test_whole_rank_equals_a_ridge_onto_whitened_captions() -> None:
    """Against scikit-learn: with all directions kept, products of photos and captions are those of the ridge."""
    data = drawn()
    maps = learn(data, width=8, ridge=0.5, shrinkage=0.3)
    x, t = (normalize(v, dim=1).double().numpy() for v in (data.photos, data.texts))
    x, t = x - x.mean(0), t - t.mean(0)
    c = t.T @ t / len(t)
    values, vectors = np.linalg.eigh(c + 0.3 * np.trace(c) / 8 * np.eye(8))
    whiten = vectors / np.sqrt(values) @ vectors.T
    y = t.reshape(60, 2, 8).mean(1) @ whiten
    ridge = Ridge(alpha=0.5 * float((x**2).sum(1).mean()), fit_intercept=False).fit(x, y)
    ours = torch.from_numpy(x) @ maps.image.double() @ (torch.from_numpy(t) @ maps.text.double()).T
    assert np.allclose(ours.numpy(), ridge.predict(x) @ (t @ whiten).T, atol=1e-4)


class Heads(nn.Module):
    """The maps as the heads of a model."""

    def __init__(self, data: Captioned) -> None:
        super().__init__()
        maps = learn(data, width=3)
        self.image_head = lambda x: normalize((normalize(x, dim=1) - maps.image_mean) @ maps.image, dim=1)
        self.text_head = lambda t: normalize((normalize(t, dim=1) - maps.text_mean) @ maps.text, dim=1)


def test_other_photos_are_found_unless_captions_are_permuted() -> None:
    data = drawn()
    train, other = data.of(torch.arange(40)), data.of(torch.arange(40, 60))
    assert torch.equal(other.owner, torch.arange(20).repeat_interleave(2))
    right, wrong = (found(Heads(d), other, k=3) for d in (train, permuted(train, seed=0)))  # type: ignore[arg-type]
    for way, hits in right.items():
        assert hits.mean() > 0.8 > 0.5 > wrong[way].mean()


def test_found_counts_per_photo() -> None:
    """Three photos at axes: the captions of the first lie at the first and the second axis, those of others at home."""
    axes = torch.eye(3)
    heads: nn.Module = nn.Module()
    heads.image_head, heads.text_head = nn.Identity(), nn.Identity()
    data = Captioned(axes, torch.stack([axes[0], axes[1], axes[1], axes[2]]), torch.tensor([0, 0, 1, 2]))
    hits = found(heads, data, k=1)  # type: ignore[arg-type]
    assert hits["photo by caption"].tolist() == [0.5, 1.0, 1.0]
    assert hits["caption by photo"].tolist() == [1.0, 1.0, 1.0]
