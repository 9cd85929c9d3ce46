from __future__ import annotations

import torch

from diptych.nn.text.user_prefix import UserPrefix


def made() -> UserPrefix:
    torch.manual_seed(0)
    prefix = UserPrefix(dim=6, out=8, queries=3, mapping=2, fusion=2).eval()
    torch.nn.init.normal_(prefix.user)
    return prefix


def test_sizes_padding_and_order() -> None:
    prefix, g = made(), torch.Generator().manual_seed(1)
    tokens, words = torch.randn(2, 5, 6, generator=g), torch.randn(2, 4, 8, generator=g)
    known = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]]).bool()
    with torch.no_grad():
        whole = prefix(tokens, words, known)
        assert whole.shape == (2, 3, 8)
        noise = words.masked_fill(~known[..., None], 9.0)
        torch.testing.assert_close(prefix(tokens, noise, known), whole)  # padding is not read
        torch.testing.assert_close(prefix(tokens[:1], words[:1, :2], known[:1, :2]), whole[:1], rtol=1e-4, atol=1e-5)
        turned = prefix(tokens[:, [4, 2, 0, 1, 3]], words[:, [1, 0, 2, 3]], known)
        torch.testing.assert_close(turned[:1], whole[:1], rtol=1e-4, atol=1e-5)  # both are sets
        assert not torch.allclose(prefix(tokens, -words, known), whole, atol=1e-3)


def test_no_word_is_no_user() -> None:
    prefix, tokens = made(), torch.randn(2, 5, 6)
    with torch.no_grad():
        nobody = prefix(tokens, torch.randn(2, 4, 8), torch.zeros(2, 4, dtype=torch.bool))
        p = prefix.mapping(prefix.queries.expand(2, -1, -1), prefix.enter(tokens))
        torch.testing.assert_close(nobody, prefix.fusion(p), rtol=1e-4, atol=1e-5)
