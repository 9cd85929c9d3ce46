from __future__ import annotations

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from diptych.backbones.causal import HuggingFaceLM
from diptych.nn.text.user_prefix import UserPrefix, context_ids, prefix_loss
from diptych.nn.text.vocabulary import Vocabulary


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


def test_the_loss_is_that_of_transformers_and_reaches_the_prefix_alone() -> None:
    torch.manual_seed(0)
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=12, n_positions=16, n_embd=8, n_layer=1, n_head=2)).eval()
    gpt.requires_grad_(False)
    prefix = UserPrefix(dim=6, out=8, queries=2, mapping=1, fusion=1, heads=2)
    ids, context = torch.tensor([[1, 5, 6, 2, 0], [1, 7, 8, 9, 2]]), torch.tensor([[4, 5, 0], [0, 0, 0]])
    batch = {"ids": ids, "tokens": torch.randn(2, 3, 6), "context": context}
    table = gpt.get_input_embeddings()
    made = prefix(batch["tokens"], table(context), context != 0)
    labels = torch.cat([torch.full((2, 3), -100), ids[:, 1:].masked_fill(ids[:, 1:] == 0, -100)], dim=1)
    mask = torch.cat([torch.ones(2, 2), (ids != 0).float()], dim=1)
    expected = gpt(inputs_embeds=torch.cat([made, table(ids)], dim=1), attention_mask=mask, labels=labels).loss
    loss = prefix_loss(HuggingFaceLM(gpt), prefix, batch)["words"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert prefix.queries.grad is not None
    assert all(p.grad is None for p in gpt.parameters())


def test_context_ids() -> None:
    v = Vocabulary.of(["a pup runs"])
    assert context_ids(v, ("runs", "pup"), 3).tolist() == [v.number["runs"], v.number["pup"], 0]
    assert context_ids(v, (), 0).tolist() == [0]
