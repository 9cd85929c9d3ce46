from __future__ import annotations

import torch

from diptych.nn.text.grammar import GrammarHead, balanced_accuracy, grammar_loss


def test_the_head_against_matrices() -> None:
    torch.manual_seed(0)
    head = GrammarHead(6)
    t = torch.nn.functional.normalize(torch.randn(5, 6), dim=-1)
    first, second = (p.detach() for p in head.parameters())
    logits = (6**0.5 * t @ first.T).clamp(min=0) @ second.T
    torch.testing.assert_close(head(t), logits)
    torch.testing.assert_close(head.probability(t), torch.sigmoid(logits[:, 1] - logits[:, 0]))


def test_loss_and_accuracy_know_which_of_two_is_corrupted() -> None:
    torch.manual_seed(0)
    head, axis = GrammarHead(8), torch.eye(8)
    pairs = torch.stack([axis[0], axis[1]]).expand(8, 2, 8)
    optimiser = torch.optim.Adam(head.parameters(), 0.05)
    for _ in range(50):
        optimiser.zero_grad()
        loss = grammar_loss(head, pairs)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1
    assert balanced_accuracy(head, axis[:1], axis[1:2].expand(1, 3, 8)) == 1.0
    assert balanced_accuracy(head, axis[1:2], axis[:1].expand(1, 3, 8)) == 0.0
    assert balanced_accuracy(head, axis[:1], axis[:1].expand(1, 3, 8)) == 0.5  # all are called grammatical
