"""Texts as mean hidden states: against transformers, with and without the causal mask."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diptych.backbones.causal import HuggingFaceLM
from diptych.backbones.language_text import LanguageText
from diptych.core import TokenStates, UsageError
from diptych.nn.text.small_lm import SmallLM
from tests.support.checkpoints import SENTENCES, small_tokenizer
from tests.support.language import tiny_gpt2, tiny_llama


def words(folder: Path):
    from transformers import AutoTokenizer

    small_tokenizer(folder, bos="<s>")
    return AutoTokenizer.from_pretrained(str(folder))


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama])
@torch.no_grad()
def test_the_causal_states_are_those_of_transformers(make) -> None:
    model = make(20)
    lm, ids = HuggingFaceLM(model), torch.tensor([[3, 5, 7, 9], [4, 6, 0, 0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    assert isinstance(lm, TokenStates)
    states = lm.states(lm.embed(ids), mask, bidirectional=False)
    theirs = model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(states[mask], theirs[mask], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama, lambda v: SmallLM(v, width=16, depth=2, heads=2).eval()])
@torch.no_grad()
def test_without_the_causal_mask_tokens_see_later_ones_and_no_padding(make) -> None:
    model = make(20)
    lm = model if isinstance(model, SmallLM) else HuggingFaceLM(model)
    one, two = torch.tensor([[3, 5, 7, 9]]), torch.tensor([[3, 5, 7, 8]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    for bidirectional in (False, True):
        a, b = (lm.states(lm.embed(ids), mask, bidirectional=bidirectional) for ids in (one, two))
        assert torch.allclose(a[:, :3], b[:, :3], atol=1e-5) != bidirectional
    longer = torch.tensor([[3, 5, 7, 9, 0, 0]])
    padded = lm.states(lm.embed(longer), longer > 0, bidirectional=True)
    alone = lm.states(lm.embed(one), mask, bidirectional=True)
    torch.testing.assert_close(padded[:, :4], alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_text_is_the_mean_of_its_own_tokens(tmp_path: Path) -> None:
    text = LanguageText.of(tiny_gpt2(20), words(tmp_path))
    x = text.read(SENTENCES, "two barn ")
    assert x["ids"].shape == x["counted"].shape
    head = [3, *text.ids(["two barn "])[0]]  # BOS stands once, before all, and neither it nor EOS is in a text
    assert text.first == (3,)
    assert not {1, 3} & {i for row in text.ids(SENTENCES) for i in row}
    assert (x["mask"].sum(1) - x["counted"].sum(1)).tolist() == [len(head)] * 3
    found = text.encode(x)
    for i, row in enumerate(SENTENCES):
        ids = torch.tensor([head + text.ids([row])[0]])
        h = text.lm.states(text.lm.embed(ids), torch.ones_like(ids, dtype=torch.bool), bidirectional=True)
        torch.testing.assert_close(found[i], h[0, len(head) :].mean(0), atol=1e-5, rtol=1e-4)
    plain = text.inputs(SENTENCES)
    assert (plain["ids"][:, 0] == 3).all()
    assert not plain["counted"][:, 0].any()
    assert not torch.allclose(found, text.encode(text.inputs(SENTENCES)), atol=1e-3)
    assert text.encode(text.inputs([])).shape == (0, 16)


def test_limits_and_identity(tmp_path: Path) -> None:
    tokenizer = words(tmp_path)
    text, other = (LanguageText.of(tiny_gpt2(20), tokenizer, limit=limit) for limit in (4, 64))
    with pytest.raises(UsageError, match="has 6 tokens, and this model is given 4"):
        text.inputs(["a photo of a cat"])
    assert text.fingerprint != other.fingerprint
    assert other.around(other.network).fingerprint == other.fingerprint
    assert other.around(tiny_llama(20)).fingerprint != other.fingerprint
