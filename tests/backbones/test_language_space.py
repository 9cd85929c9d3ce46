"""A backbone with a language model: its adaptor, and what it shares with its base."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from diptych.backbones.language_space import Adaptor, LanguageSpace
from diptych.backbones.language_text import LanguageText
from diptych.core import MissingHook
from diptych.nn.text.small_lm import SmallLM
from tests.train.test_pair import Squares, small


def reader(seed: int = 0, width: int = 8) -> LanguageText:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SmallLM(50, width=width, depth=1, heads=2)
    model.requires_grad_(False)
    return LanguageText(model.eval(), model, lambda texts: [[1 + ord(c) % 49 for c in t] for t in texts], 0, "letters")


def space(language: LanguageText | None = None) -> LanguageSpace:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adaptor = Adaptor(8, 12, 2)
    return LanguageSpace(small(), language or reader(), adaptor)


def norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


@torch.no_grad()
def test_the_adaptor_against_numpy() -> None:
    adaptor = Adaptor(5, 3, 2).double()
    e = torch.randn(4, 5, dtype=torch.float64)
    x = e.numpy() / np.linalg.norm(e.numpy(), axis=1, keepdims=True)
    for _, first, _, second in adaptor.blocks:
        h = torch.nn.functional.gelu(first(torch.from_numpy(norm(x))))
        x = x + second(h).numpy()
    np.testing.assert_allclose(adaptor(e).numpy(), adaptor.out[1](torch.from_numpy(norm(x))).numpy(), atol=1e-9)
    torch.testing.assert_close(adaptor(7 * e), adaptor(e))


@torch.no_grad()
def test_texts_are_read_once_and_images_are_those_of_the_base() -> None:
    made = space()
    texts = ["a cat", "a dog", "a cat"]
    x = made.text.inputs(texts)
    assert len(made.known) == 2
    assert "a cat" in made.known
    assert "a dog" in made.known
    torch.testing.assert_close(made.text.encode(x), made.adaptor(made.language.encode(made.language.inputs(texts))))
    pictures = made.image.inputs([Squares(2)[0]])
    assert torch.equal(made.image.encode(pictures), small().image.encode(pictures))
    assert made.text.encode(made.text.inputs([])).shape == (0, 12)
    assert made.scale() == made.base.scale()
    with pytest.raises(MissingHook, match="has no tower"):
        made.tower("text")


def test_rebuilding_and_fingerprints() -> None:
    made = space()
    module = copy.deepcopy(made.module())
    again = made.rebuild(module, made.spec)
    assert again.fingerprint == made.fingerprint
    with torch.no_grad():
        module["adaptor"].out[1].bias.add_(1)
    other = made.rebuild(module, made.spec)
    assert other.text.fingerprint != made.text.fingerprint
    assert other.image.fingerprint == made.image.fingerprint
    assert space(reader(1)).text.fingerprint != made.text.fingerprint
    assert not any("language" in n for n, _ in made.module().named_parameters())
    with pytest.raises(MissingHook, match="base and adaptor"):
        made.rebuild(nn.Identity(), made.spec)
