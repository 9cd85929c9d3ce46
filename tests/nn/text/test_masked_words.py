from __future__ import annotations

import torch

from diptych.nn.text.masked_words import WordModel, mask_words, thirds, words_in

IDS = torch.tensor([[1, 5, 6, 7, 8, 2], [1, 9, 2, 0, 0, 0], [1, 2, 0, 0, 0, 0]])
EMPTY = torch.tensor([[1, 2, 0, 0, 0, 0]])


def test_words_are_what_an_empty_text_has_not() -> None:
    assert IDS[words_in(IDS, EMPTY)].tolist() == [5, 6, 7, 8, 9]
    no_start = torch.tensor([[5, 6, 1, 0, 0], [1, 0, 0, 0, 0]])  # as SigLIP's: an end, no start, and padding
    assert words_in(no_start, no_start[1:]).tolist() == [[True, True, False, False, False], [False] * 5]


def test_masks_have_the_shares_of_bert() -> None:
    ids = torch.randint(10, 1000, (400, 50), generator=torch.Generator().manual_seed(1))
    words = torch.ones_like(ids, dtype=torch.bool)
    m = mask_words(ids, words, 0.15, torch.Generator().manual_seed(0))
    share = m.predicted.float().mean().item()
    assert 0.14 < share < 0.16
    assert 0.78 < m.blank.float().mean().item() / share < 0.82
    changed = (m.ids != ids)[m.predicted].float().mean().item()
    assert 0.08 < changed < 0.12
    assert torch.equal(m.ids[~m.predicted], ids[~m.predicted])
    assert not (m.blank & ~m.predicted).any()


def test_ends_and_padding_are_never_masked_and_each_text_has_a_word() -> None:
    words = words_in(IDS, EMPTY)
    for seed in range(20):
        m = mask_words(IDS, words, 0.01, torch.Generator().manual_seed(seed))
        assert not (m.predicted & ~words).any()
        assert m.predicted.sum(1).tolist()[1:] == [1, 0]
        assert m.predicted[0].sum() >= 1
        assert set(m.ids[m.predicted].tolist()) <= {5, 6, 7, 8, 9}
    assert torch.equal(mask_words(IDS, words, 1.0, torch.Generator()).predicted, words)


def test_an_image_has_no_effect_at_first_and_then_in_its_blocks_alone() -> None:
    torch.manual_seed(0)
    model = WordModel(8, 2, 6, (0, 2), 11)
    h, image = torch.randn(2, 4, 8), torch.randn(2, 5, 6)
    assert torch.equal(model.fused(0, h, image), h)
    torch.nn.init.ones_(model.gates)
    assert torch.equal(model.fused(1, h, image), h)
    attended = model.attentions[1](model.norms[1](h), image, image)[0]
    torch.testing.assert_close(model.fused(2, h, image), h + attended)
    assert model.logits(h[0], torch.randn(11, 8)).shape == (4, 11)
    assert [thirds(d) for d in (12, 4, 2)] == [(3, 7, 11), (0, 2, 3), (0, 1)]
