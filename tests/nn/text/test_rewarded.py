from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.core import Clock, Row, Run
from diptych.metrics.caption import clip_score
from diptych.nn.text.grammar import GrammarHead
from diptych.nn.text.rewarded import Reward, RewardTrainee, clip_s, judged_texts, policy_loss
from diptych.nn.text.small_lm import SmallLM
from diptych.nn.text.vocabulary import Vocabulary
from tests.support.colours import ColourBackbone

TEXTS = (("a red wall", "a wall"), ("a blue sea", "red"))


def test_the_loss_against_a_loop_and_its_sign() -> None:
    rng = np.random.default_rng(0)
    log_p, r, lengths = -rng.random((2, 3, 4)), rng.normal(size=(2, 3)), rng.integers(1, 5, (2, 3))
    total, count = 0.0, 0
    for b in range(2):
        for j in range(3):
            for t in range(lengths[b, j]):
                total -= log_p[b, j, t] * r[b, j]
                count += 1
    made = policy_loss(torch.tensor(log_p), torch.tensor(r), torch.tensor(lengths))
    assert float(made) == pytest.approx(total / count)
    assert float(policy_loss(torch.tensor(log_p), torch.zeros(2, 3), torch.tensor(lengths))) == 0.0


def test_the_reward_is_clipscore_and_each_text_is_embedded_once() -> None:
    backbone, run = ColourBackbone(), Run()
    z = torch.nn.functional.normalize(torch.randn(2, 4, generator=torch.Generator().manual_seed(1)), dim=-1)
    t = judged_texts(backbone, [text for own in TEXTS for text in own], run).reshape(2, 2, 4)
    expected = [[clip_score(z[b : b + 1].numpy(), t[b, j : j + 1].numpy())[0] for j in range(2)] for b in range(2)]
    assert clip_s(z, t).numpy() == pytest.approx(np.array(expected), abs=1e-6)
    reward = Reward(backbone, 2.0, 1.0, None, run)
    assert reward.of(z, TEXTS).numpy() == pytest.approx(2 * np.array(expected), abs=1e-5)
    assert len(reward.known) == 4
    before = run.tally["encoded"]
    reward.of(z, TEXTS)
    assert run.tally["encoded"] == before
    head = GrammarHead(4)
    graded = Reward(backbone, 2.0, 0.5, head, run).of(z, TEXTS) - reward.of(z, TEXTS)
    torch.testing.assert_close(graded, 0.5 * head.probability(t), rtol=1e-4, atol=1e-5)


def test_samples_are_the_clocks_and_a_constant_reward_has_no_gradient() -> None:
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(["a red wall"])
    lm, z = SmallLM(len(vocabulary), 8, 1, heads=2, context=8, memory=4), torch.eye(4)[:2]

    def gradient(weight: float, seed: int) -> torch.Tensor:
        trainee = RewardTrainee(lm, Reward(ColourBackbone(), weight, 0.0, None, Run()), z, vocabulary, 3, 6)
        views = [trainee.views(Row(z[i : i + 1], i, str(i)), torch.Generator()) for i in range(2)]
        lm.zero_grad()
        clock = Clock(0, 1, 0, torch.Generator().manual_seed(seed))
        trainee.losses(trainee.collate(views), "main", clock)["reward"].backward()
        return lm.tokens.weight.grad.clone()

    assert torch.equal(gradient(2.0, 1), gradient(2.0, 1))
    assert not torch.equal(gradient(2.0, 1), gradient(2.0, 2))
    assert not gradient(0.0, 1).any()
