from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diptych.core import Embedded
from diptych.nn.contrastive import caption_contrast, contrastive, cosines, next_token, sigmoid_pairs, softmax_pairs

CHUNKS = [1, 3, 8, 100]
PAIR = ("a", "b")


def pairs(rows: int = 8, columns: int = 12, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    x, y = (normalize(torch.randn(n, 5, generator=g, dtype=dtype), dim=-1) for n in (rows, columns))
    return [
        t.detach().requires_grad_() for t in (x, y, torch.tensor(7.0, dtype=dtype), torch.tensor(-2.0, dtype=dtype))
    ]


def softmax(x, y, s, b, chunk=None):
    return softmax_pairs(x, y, s, 3, chunk)


def sigmoid(x, y, s, b, chunk=None):
    return sigmoid_pairs(x, y, s, b, 3, chunk)


def captions(x, y, s, b, chunk=None):
    output = lambda h: s * (h @ y.T)  # noqa: E731
    total, count = next_token(x[None], output, torch.tensor([[1, 0, 4, 11, 0, 2, 2, 7]]), 0, chunk)
    return total / count


def test_softmax_against_a_loop_in_numpy() -> None:
    inputs = pairs()
    x, y, s, _ = (t.detach().numpy() for t in inputs)
    rows = [math.log(sum(math.exp(s * x[i] @ y[j]) for j in range(12))) - s * x[i] @ y[i + 3] for i in range(8)]
    assert softmax(*inputs).item() == pytest.approx(np.mean(rows), rel=1e-13)


def test_sigmoid_against_a_loop_in_numpy() -> None:
    inputs = pairs()
    x, y, s, b = (t.detach().numpy() for t in inputs)
    cells = [
        math.log1p(math.exp(-(1 if j == i + 3 else -1) * (s * x[i] @ y[j] + b))) for i in range(8) for j in range(12)
    ]
    assert sigmoid(*inputs).item() == pytest.approx(sum(cells) / 8, rel=1e-13)


def test_next_token_against_a_loop_in_numpy() -> None:
    inputs = pairs()
    x, y, s, _ = (t.detach().numpy() for t in inputs)
    words = {0: 1, 2: 4, 3: 11, 5: 2, 6: 2, 7: 7}  # place -> word; 1 and 4 are padding
    lost = [math.log(sum(math.exp(s * x[i] @ v) for v in y)) - s * x[i] @ y[w] for i, w in words.items()]
    assert captions(*inputs).item() == pytest.approx(np.mean(lost), rel=1e-13)


@pytest.mark.parametrize("loss", [softmax, sigmoid, captions])
@pytest.mark.parametrize("chunk", CHUNKS)
def test_blocks_change_neither_value_nor_gradient(loss, chunk) -> None:
    whole, blocks = pairs(), pairs()
    a, b = loss(*whole), loss(*blocks, chunk=chunk)
    a.backward()
    b.backward()
    torch.testing.assert_close(a, b, rtol=1e-13, atol=0)
    for p, q in zip(whole, blocks, strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-11, atol=1e-14)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.elements = max([self.elements, *(t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor))])
        return out


@pytest.mark.parametrize("loss", [softmax_pairs, lambda x, y, s, f, c: sigmoid_pairs(x, y, s, -s, f, c)])
def test_no_tensor_grows_past_one_block(loss) -> None:
    made = []
    for chunk in (None, 16, 4):
        x, y, s, _ = pairs(128, 128)
        with Largest() as seen:
            loss(x, y, s, 0, chunk).backward()
        made.append(seen.elements)
    assert made == [128 * 128, 16 * 128, 128 * 5]  # below that, the embeddings themselves are the largest


def test_no_logits_of_all_words_at_once() -> None:
    made = []
    for chunk in (None, 10):
        h, output = torch.randn(4, 25, 3, requires_grad=True), nn.Linear(3, 50)
        with Largest() as seen:
            next_token(h, output, torch.randint(1, 50, (4, 25)), 0, chunk)[0].backward()
        made.append(seen.elements)
    assert made == [4 * 25 * 50, 10 * 50]


def test_known_values() -> None:
    eye, scale = torch.eye(6, dtype=torch.float64), torch.tensor(10.0, dtype=torch.float64)
    assert softmax_pairs(eye, eye, scale).item() == pytest.approx(math.log(1 + 5 * math.exp(-10)))
    assert softmax_pairs(eye * 0, eye, scale).item() == pytest.approx(math.log(6))
    separated = sigmoid_pairs(eye, eye, scale, -scale).item()
    assert separated == pytest.approx(math.log(2) + 5 * math.log1p(math.exp(-10)))
    empty = sigmoid_pairs(eye * 0, eye, scale, -scale).item()
    assert empty == pytest.approx(10.0003, abs=1e-4)
    assert next_token(torch.zeros(1, 3, 9), nn.Identity(), torch.ones(1, 3, dtype=torch.long), 0)[
        0
    ].item() == pytest.approx(3 * math.log(9))


@pytest.mark.parametrize("chunk", [None, 3])
def test_half_precision_is_computed_in_full(chunk) -> None:
    x, y, s, b = (t.detach() for t in pairs(dtype=torch.float32))
    half = [t.bfloat16() for t in (x, y)]
    full = [t.float() for t in half]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for loss in (softmax, sigmoid):
            assert loss(*half, s, b, chunk=chunk).dtype == torch.float32
            torch.testing.assert_close(loss(*half, s, b, chunk=chunk), loss(*full, s, b), rtol=1e-6, atol=1e-6)


def test_cosines_are_those_of_numpy_whatever_the_precision() -> None:
    x, y, s, _ = (t.detach().float() for t in pairs())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = cosines(x, y, s)
        halves = contrastive(
            Embedded({"a": x.bfloat16(), "b": y[:8].bfloat16()}, lambda a, b: (s, s), lambda t: t), PAIR
        )
    np.testing.assert_allclose(found.numpy(), 7.0 * (x.numpy() @ y.numpy().T), rtol=1e-5, atol=1e-5)
    whole = Embedded({"a": x.bfloat16().float(), "b": y[:8].bfloat16().float()}, lambda a, b: (s, s), lambda t: t)
    torch.testing.assert_close(halves, contrastive(whole, PAIR), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("chunk", [None, 2])
def test_masked_columns_and_rows_do_not_count(chunk) -> None:
    g = torch.Generator().manual_seed(0)
    x, y = (normalize(torch.randn(5, 4, generator=g, dtype=torch.float64), dim=-1) for _ in range(2))
    seen = torch.rand(5, 5, generator=g) < 0.6
    rows = torch.tensor([True, False, True, True, False])
    expected = []
    for i in (0, 2, 3):
        kept = [j for j in range(5) if bool(seen[i, j]) or j == i]
        logits = 3.0 * (x[i] @ y[kept].T).numpy()
        expected.append(np.log(np.exp(logits).sum()) - logits[kept.index(i)])
    loss = softmax_pairs(x, y, torch.tensor(3.0).double(), chunk=chunk, seen=seen, rows=rows)
    assert loss.item() == pytest.approx(np.mean(expected), abs=1e-9)
    assert softmax_pairs(x, y, torch.tensor(3.0), rows=torch.zeros(5, dtype=torch.bool)) == 0
    everything = torch.ones(5, 5, dtype=torch.bool)
    assert softmax_pairs(x, y, torch.tensor(3.0), seen=everything) == softmax_pairs(x, y, torch.tensor(3.0))


def test_the_loss_against_numpy() -> None:
    g = torch.Generator().manual_seed(0)
    q, d, n = (normalize(torch.randn(6, 4, generator=g, dtype=torch.float64), dim=-1) for _ in range(3))
    rows = []
    for i in range(3):
        scores = 5 * np.array([*(d.numpy() @ q[i + 2].numpy()), *(n.numpy() @ q[i + 2].numpy())])
        rows.append(np.log(np.exp(scores).sum()) - scores[i + 2])
    assert caption_contrast(q[2:5], d, n, 5.0, first=2).item() == pytest.approx(np.mean(rows))
