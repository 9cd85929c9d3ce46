"""FuDD: the first answer names candidates per image, and texts written for each pair of candidates score them again."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.core.method import Scores


def second_look(first: Scores, images: Tensor, pair_texts: Tensor, k: int) -> Scores:
    """Score the k best classes of each image by texts about its own pairs.

    Args:
        first: (N, K) scores.
        images: (N, D) unit.
        pair_texts: (K, K, D) unit: [a, b] tells a from b.
        k: candidates an image.
    """
    top = first.values.topk(k).indices
    candidates = torch.zeros_like(first.values, dtype=torch.bool).scatter(1, top, True)
    texts = pair_texts[top[:, :, None], top[:, None, :]]  # (N, k, k, D)
    others = ~torch.eye(k, dtype=torch.bool)
    heads = F.normalize(torch.stack([texts[:, a, others[a]].mean(1) for a in range(k)], dim=1), dim=-1)
    again = first.values.scatter(1, top, torch.einsum("nd,nkd->nk", images, heads))
    return Scores(again, "cosine", candidates)


def test_candidates_rank_first_and_the_rest_keep_its_order() -> None:
    g = torch.Generator().manual_seed(0)
    images = F.normalize(torch.randn(6, 8, generator=g), dim=-1)
    classes = F.normalize(torch.randn(5, 8, generator=g), dim=-1)
    pairs = F.normalize(torch.randn(5, 5, 8, generator=g), dim=-1)
    first = Scores(images @ classes.T, "cosine")
    second = second_look(first, images, pairs, 3)
    assert second.candidates is not None
    for n in range(6):
        order = first.values[n].argsort(descending=True).tolist()
        best = order[:3]
        means = {a: F.normalize(torch.stack([pairs[a, b] for b in best if b != a]).mean(0), dim=0) for a in best}
        expected = sorted(best, key=lambda a: -float(images[n] @ means[a])) + order[3:]
        assert second.ranked()[n].argsort(descending=True).tolist() == expected
        assert second.predicted()[n] == expected[0]
        assert second.candidates[n].nonzero()[:, 0].tolist() == sorted(best)


def test_all_classes_as_candidates_change_no_rank_but_by_score() -> None:
    values = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    everyone = Scores(values, "logit", torch.ones(4, 5, dtype=torch.bool))
    assert torch.equal(everyone.ranked(), values)
    assert torch.equal(everyone.predicted(), values.argmax(1))
