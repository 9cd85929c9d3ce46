from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from diptych.core import LanguageModel, UsageError
from diptych.nn.text.decode import Prefix, greedy
from diptych.nn.text.small_lm import SmallLM

BOS, END, WORDS, LENGTH = 0, 1, 8, 3


def build(memory: int | None, seed: int = 0, depth: int = 2) -> SmallLM:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SmallLM(2 + WORDS, width=32, depth=depth, heads=4, context=16, memory=memory)


def words(rows: int, seed: int) -> Tensor:
    return torch.randint(2, 2 + WORDS, (rows, LENGTH), generator=torch.Generator().manual_seed(seed))


def task(model: SmallLM, ids: Tensor, sees: bool) -> tuple[Tensor, Tensor | None]:
    """What stands before the copy: BOS alone with the words as memory, or words and BOS."""
    bos = torch.full((len(ids), 1), BOS)
    if not sees:
        return model.embed(torch.cat([ids, bos], dim=1)), None
    codes = torch.eye(2 + WORDS)[ids]
    place = torch.eye(LENGTH).expand(len(ids), -1, -1)
    return model.embed(bos), torch.cat([codes, place], dim=2)


@pytest.mark.parametrize("sees", [False, True], ids=["prefix", "memory"])
def test_learns_to_copy_in_seconds(sees: bool) -> None:
    model = build(2 + WORDS + LENGTH if sees else None)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(250):
        ids = words(64, step)
        prefix, memory = task(model, ids, sees)
        target = torch.cat([ids, torch.full((64, 1), END)], dim=1)
        embeds = torch.cat([prefix, model.embed(ids)], dim=1)
        logits, _ = model.logits(embeds, torch.ones(embeds.shape[:2], dtype=torch.bool), memory)
        loss = cross_entropy(logits[:, -LENGTH - 1 :].flatten(0, 1), target.flatten())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    unseen = words(200, 10_000)
    prefix, memory = task(model, unseen, sees)
    copied = greedy(model, Prefix(prefix, memory=memory), limit=LENGTH + 3, end=END)
    right = (copied.lengths[:, 0] == LENGTH + 1) & (copied.tokens[:, 0, :LENGTH] == unseen).all(dim=1)
    assert float(right.float().mean()) > 0.9
    if sees:  # the control: another row's memory is copied, not one's own
        swapped = greedy(
            model, Prefix(prefix, memory=None if memory is None else memory.roll(1, 0)), limit=LENGTH + 3, end=END
        )
        assert float((swapped.tokens[:, 0, :LENGTH] == unseen).all(dim=1).float().mean()) < 0.1


def test_is_a_language_model() -> None:
    model = build(None)
    assert isinstance(model, LanguageModel)
    assert (model.width, model.vocabulary) == (32, 10)


def test_future_and_padding_do_not_matter() -> None:
    model = build(None)
    x = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    real = torch.ones(1, 5, dtype=torch.bool)
    whole, _ = model.logits(x, real)
    changed = x.clone()
    changed[:, 3:] += 1
    torch.testing.assert_close(model.logits(changed, real)[0][:, :3], whole[:, :3])
    padded, _ = model.logits(
        torch.cat([torch.full((1, 2, 32), 7.0), x], dim=1), torch.tensor([[False] * 2 + [True] * 5])
    )
    torch.testing.assert_close(padded[:, 2:], whole, atol=1e-5, rtol=1e-5)
    assert bool(padded.isfinite().all())


def test_steps_equal_one_pass() -> None:
    model = build(4)
    g = torch.Generator().manual_seed(0)
    x, memory = torch.randn(2, 5, 32, generator=g), torch.randn(2, 3, 4, generator=g)
    whole, _ = model.logits(x, torch.ones(2, 5, dtype=torch.bool), memory)
    cache, parts, read = None, [], 0
    for size in (2, 1, 2):
        read += size
        part, cache = model.logits(x[:, read - size : read], torch.ones(2, read, dtype=torch.bool), memory, cache)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-5)


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="heads must divide width"):
        SmallLM(10, width=30, heads=4)
    x, real = torch.zeros(1, 2, 32), torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(UsageError, match="built with it"):
        build(None).logits(x, real, torch.zeros(1, 1, 4))
    with pytest.raises(UsageError, match="built with it"):
        build(4).logits(x, real)
    with pytest.raises(UsageError, match="context of 16"):
        build(None).logits(torch.zeros(1, 17, 32), torch.ones(1, 17, dtype=torch.bool))
