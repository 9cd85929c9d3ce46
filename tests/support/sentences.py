"""Sentences of one form, some of which are held out: what a language model can learn of them is known."""

from __future__ import annotations

from itertools import product

import numpy as np

FORM = ("red", "blue", "green", "pink"), ("fox", "oak", "cup", "horse"), ("by the sea", "in a wood", "on the grass")
"""Colour, thing and place of a sentence."""
ENTROPY = float(sum(np.log(len(words)) for words in FORM)) / 7
"""Nats a token of the best model: only colour, thing and place are open, of six words and the end."""


def sentences() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return 40 sentences, and 8 that are held out."""
    texts = [f"a {colour} {thing} {place}" for colour, thing, place in product(*FORM)]
    order = np.random.default_rng(0).permutation(len(texts))
    return tuple(texts[i] for i in order[8:]), tuple(texts[i] for i in order[:8])
