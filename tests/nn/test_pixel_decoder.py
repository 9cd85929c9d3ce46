from __future__ import annotations

import pytest
import torch

from diptych.nn.pixel_decoder import PixelDecoder, painting_error, patch_pixels, standardised


def test_patches_hold_their_pixels_in_the_order_of_the_tokens() -> None:
    x = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    found = patch_pixels(x, (4, 4))
    assert found.shape == (2, 6, 48)
    for b in range(2):
        for i in range(2):
            for j in range(3):
                cell = x[b, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
                assert torch.equal(found[b, 3 * i + j], cell.flatten())


def test_standardised_patches_have_no_mean_and_one_variance() -> None:
    t = standardised(5 + 3 * torch.randn(4, 6, 48, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(t.mean(-1), torch.zeros(4, 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(t.var(-1), torch.ones(4, 6), atol=1e-4, rtol=0)
    assert torch.equal(standardised(torch.ones(1, 5)), torch.zeros(1, 5))


def test_the_error_against_a_loop_over_hidden_patches() -> None:
    g = torch.Generator().manual_seed(0)
    pixels = torch.randn(3, 3, 4, 6, generator=g, dtype=torch.float64)
    painted = torch.randn(3, 6, 12, generator=g, dtype=torch.float64)
    hidden = torch.tensor([[True, False, True, False, False, False], [True] * 6, [False] * 6])
    found = painting_error(painted, pixels, hidden, (2, 2))
    for b in range(3):
        each = []
        for p in hidden[b].nonzero()[:, 0].tolist():
            cell = pixels[b, :, p // 3 * 2 : p // 3 * 2 + 2, p % 3 * 2 : p % 3 * 2 + 2].flatten()
            each.append(float(((painted[b, p] - (cell - cell.mean()) / (cell.var() + 1e-6).sqrt()) ** 2).mean()))
        assert found[b].item() == pytest.approx(sum(each) / max(1, len(each)), rel=1e-12)


def test_the_decoder_reads_words_and_no_padding() -> None:
    torch.manual_seed(0)
    decoder = PixelDecoder(4, 12, image_width=6, text_width=5, width=8, depth=2).eval()
    image, text = torch.randn(2, 4, 6), torch.randn(2, 3, 5)
    valid = torch.tensor([[True, True, False], [True, True, True]])
    other = text.clone()
    other[:, 2] = 9.0
    a, b = decoder(image, text, valid), decoder(image, other, valid)
    assert a.shape == (2, 4, 12)
    torch.testing.assert_close(a[0], b[0])
    assert not torch.allclose(a[1], b[1])
    states = [m.norm1.weight for m in decoder.blocks]
    assert states[0] is not states[1]
