from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.core import Embedded
from diptych.nn.pair_distillation import TEACHER_SCALE, distilled_pairs


def test_both_directions_against_a_loop() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4, 6, generator=g, dtype=torch.float64) for _ in range(2))
    p, q = (normalize(torch.randn(4, 5, generator=g, dtype=torch.float64), dim=-1) for _ in range(2))
    e = Embedded({"image": x, "text": y}, lambda a, b: (torch.tensor(7.0), torch.zeros(())), gather=lambda t: t)
    s = 7.0 * (normalize(x, dim=-1) @ normalize(y, dim=-1).T).numpy()
    t = TEACHER_SCALE * (p @ q.T).numpy()
    total = 0.0
    for student, teacher in ((s, t), (s.T, t.T)):
        for i in range(4):
            target = np.exp(teacher[i] - teacher[i].max())
            total -= float((target / target.sum() * (student[i] - np.log(np.exp(student[i]).sum()))).sum())
    found = distilled_pairs(e, {"image": p, "text": q}, ("image", "text")).item()
    assert found == pytest.approx(total / 8, rel=1e-12)  # float64 stays float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert distilled_pairs(e, {"image": p, "text": q}, ("image", "text")).item() == found


def test_a_teacher_that_is_certain_gives_the_loss_of_clip() -> None:
    from diptych.nn.contrastive import contrastive

    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4, 6, generator=g) for _ in range(2))
    e = Embedded({"image": x, "text": y}, lambda a, b: (torch.tensor(7.0), torch.zeros(())), gather=lambda t: t)
    certain = {"image": torch.eye(4), "text": torch.eye(4)}
    torch.testing.assert_close(distilled_pairs(e, certain, ("image", "text")), contrastive(e, ("image", "text")))


def test_two_teachers_are_the_mean_of_their_distributions() -> None:
    g = torch.Generator().manual_seed(0)
    x, y, p, q = (torch.randn(4, n, generator=g, dtype=torch.float64) for n in (6, 6, 5, 5))
    e = Embedded({"image": x, "text": y}, lambda a, b: (torch.tensor(7.0), torch.zeros(())), gather=lambda t: t)
    s = 7.0 * normalize(x, dim=-1) @ normalize(y, dim=-1).T
    sizes, total = (2, 3), 0.0
    for turned in (False, True):
        targets = []
        for a, b in zip(p.split(sizes, -1), q.split(sizes, -1), strict=True):
            logits = TEACHER_SCALE * normalize(a, dim=-1) @ normalize(b, dim=-1).T
            targets.append(np.exp((logits.T if turned else logits).log_softmax(1).numpy()))
        student = (s.T if turned else s).log_softmax(1).numpy()
        total -= float((np.mean(targets, axis=0) * student).sum()) / 4
    found = distilled_pairs(e, {"image": p, "text": q}, ("image", "text"), sizes).item()
    assert found == pytest.approx(total / 2, rel=1e-12)
    one = distilled_pairs(e, {"image": p, "text": q}, ("image", "text")).item()
    assert one != pytest.approx(found, rel=1e-3)
