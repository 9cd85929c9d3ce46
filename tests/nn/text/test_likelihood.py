from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from diptych.backbones.causal import HuggingFaceLM
from diptych.nn.text.likelihood import loss_behind_zeros, padded_ids, word_loss
from diptych.nn.text.small_lm import SmallLM
from diptych.nn.text.vocabulary import BEGIN, END, PAD, Vocabulary


def test_ids_are_padded_and_cut() -> None:
    v = Vocabulary.of(["a red cat"])
    assert padded_ids(v, "a cat", 4).tolist()[0] == BEGIN
    assert padded_ids(v, "a cat", 4).tolist()[3:] == [END, PAD, PAD]
    assert END not in padded_ids(v, "a red cat", 2)
    assert len(padded_ids(v, "a red cat", 2)) == 4


def test_the_loss_is_that_of_transformers_with_prefix_and_padding() -> None:
    torch.manual_seed(0)
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=12, n_positions=16, n_embd=8, n_layer=1, n_head=2)).eval()
    ids, prefix = torch.tensor([[1, 5, 6, 2, 0, 0], [1, 7, 8, 9, 10, 2]]), torch.randn(2, 3, 8)
    embeds = torch.cat([prefix, gpt.get_input_embeddings()(ids)], dim=1)
    labels = torch.cat([torch.full((2, 4), -100), ids[:, 1:].masked_fill(ids[:, 1:] == 0, -100)], dim=1)
    mask = torch.cat([torch.ones(2, 3), (ids != 0).float()], dim=1)
    expected = gpt(inputs_embeds=embeds, attention_mask=mask, labels=labels).loss
    torch.testing.assert_close(word_loss(HuggingFaceLM(gpt), ids, prefix), expected)


def test_more_padding_changes_nothing_and_memory_is_read() -> None:
    torch.manual_seed(0)
    lm = SmallLM(12, 8, 1, heads=2, context=12, memory=6)
    ids, memory = torch.tensor([[1, 5, 6, 2]]), torch.randn(1, 2, 6)
    loss = word_loss(lm, ids, memory=memory)
    padded = torch.nn.functional.pad(ids, (0, 4), value=PAD)
    torch.testing.assert_close(word_loss(lm, padded, memory=memory), loss)
    assert word_loss(lm, ids, memory=-memory).item() != pytest.approx(loss.item())


def test_behind_zeros_words_stand_where_they_stand_behind_a_prefix() -> None:
    torch.manual_seed(0)
    lm = SmallLM(12, 8, 1, heads=2, context=12)
    ids = torch.tensor([[1, 5, 6, 2, 0], [1, 7, 8, 9, 2]])
    torch.testing.assert_close(loss_behind_zeros(lm, ids, 3), word_loss(lm, ids, torch.zeros(2, 3, 8)))
    gradient = torch.autograd.grad(loss_behind_zeros(lm, ids, 3), lm.positions.weight)[0]
    assert gradient[:7].norm(dim=1).all()  # three zeros and four words
    assert not gradient[7:].any()
