from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diptych.backbones.causal import HuggingFaceLM
from diptych.core import DataError, Run, UsageError
from diptych.nn.text.beams import beam
from diptych.nn.text.decode import Decoded, Prefix, greedy, inverse_cdf, log_likelihood, sample
from diptych.nn.text.small_lm import SmallLM
from tests.support.language import Bigram, tiny_gpt2

END, VOCABULARY, LIMIT = 3, 23, 9


@pytest.fixture(scope="module")
def gpt2() -> Any:
    return tiny_gpt2(VOCABULARY)


def prefixes(width: int = 16, rows: int = 5, seed: int = 0) -> Prefix:
    """Prefixes of different lengths, padded on the left with rubbish that must not matter."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.arange(4) >= torch.tensor([0, 2, 3, 1, 0])[:rows, None]
    return Prefix(torch.randn(rows, 4, width, generator=g), mask)


def generate(model: Any, prefix: Prefix, **settings: Any) -> Any:
    assert prefix.mask is not None
    return model.generate(
        inputs_embeds=prefix.embeds,
        attention_mask=prefix.mask.long(),
        max_new_tokens=LIMIT,
        eos_token_id=END,
        pad_token_id=END,
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
        **settings,
    )


def same_tokens(ours: Decoded, sequences: Tensor) -> None:
    theirs = sequences.reshape(*ours.tokens.shape[:2], -1)
    assert torch.equal(ours.tokens, theirs[..., : ours.tokens.shape[-1]])
    assert bool((theirs[..., ours.tokens.shape[-1] :] == END).all())


def test_greedy_equals_transformers(gpt2: Any) -> None:
    ours = greedy(HuggingFaceLM(gpt2), prefixes(), limit=LIMIT, end=END)
    theirs = generate(gpt2, prefixes(), do_sample=False)
    same_tokens(ours, theirs.sequences)
    logits = torch.stack(theirs.logits, dim=1).log_softmax(-1)
    expected = logits.gather(-1, theirs.sequences[..., None])[..., 0]
    real = torch.arange(ours.tokens.shape[-1]) < ours.lengths[:, 0, None]
    torch.testing.assert_close(ours.log_probs[:, 0], expected * real)
    assert int(ours.lengths.min()) < int(ours.lengths.max()), "the case must hold early and late ends"


@pytest.mark.parametrize("beams", [2, 5])
def test_beams_equal_transformers(gpt2: Any, beams: int) -> None:
    ours = beam(HuggingFaceLM(gpt2), prefixes(), beams=beams, limit=LIMIT, end=END, n=beams)
    theirs = generate(gpt2, prefixes(), num_beams=beams, num_return_sequences=beams, do_sample=False)
    same_tokens(ours, theirs.sequences)
    torch.testing.assert_close(ours.scores.flatten(), theirs.sequences_scores, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.scores, ours.log_probs.sum(-1) / ours.lengths, atol=1e-5, rtol=1e-5)


def draws(run: Run, keys: Sequence[str], n: int, limit: int) -> Tensor:
    """(B, n, limit) uniform numbers, which depend on (seed, key) alone."""
    return torch.stack([torch.rand(n, limit, generator=run.generator(key), dtype=torch.float64) for key in keys])


def test_samples_equal_transformers_on_the_same_draws(gpt2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    uniforms = draws(Run(seed=2), list("abcde"), 3, LIMIT)
    step = itertools.count()

    def multinomial(probabilities: Tensor, num_samples: int, **_: Any) -> Tensor:
        u = uniforms.reshape(-1, LIMIT)[:, next(step)].numpy()
        chosen = [
            np.searchsorted(np.cumsum(p.double().numpy()), x, side="right")
            for p, x in zip(probabilities, u, strict=True)
        ]
        return torch.tensor(np.array(chosen))[:, None]

    ours = sample(HuggingFaceLM(gpt2), prefixes(), uniforms, end=END)
    monkeypatch.setattr(torch, "multinomial", multinomial)
    theirs = generate(gpt2, prefixes(), do_sample=True, num_return_sequences=3, top_k=0)
    same_tokens(ours, theirs.sequences)
    assert len({tuple(t) for t in ours.tokens.flatten(0, 1).tolist()}) > 5


def test_samples_follow_the_distribution() -> None:
    model = Bigram(4, seed=1)
    uniforms = draws(Run(), ["x"], 4000, 2)
    drawn = sample(model, Prefix(model.embed(torch.tensor([[2]]))), uniforms, end=None)
    first, second = (model.after(place).softmax(-1).double().numpy() for place in (0, 1))
    expected = (first[2][:, None] * second).flatten()
    seen = np.bincount((drawn.tokens[0, :, 0] * 4 + drawn.tokens[0, :, 1]).numpy(), minlength=16)
    chi_square = ((seen - 4000 * expected) ** 2 / (4000 * expected)).sum()
    assert chi_square < 37.7  # 15 degrees of freedom, p = 0.001


def diverse(
    model: Bigram, start: int, beams: int, groups: int, limit: int, diversity: float
) -> list[tuple[float, list[int]]]:
    """Group beam search by Vijayakumar's algorithm in plain lists; ends as transformers' group search does by its
    heuristic.
    """
    log_p = [model.after(place).log_softmax(-1).double().tolist() for place in range(limit)]
    width = beams // groups
    live: list[list[tuple[float, list[int]]]] = [[(0.0, [])] for _ in range(groups)]
    ended: list[list[tuple[float, list[int]]]] = [[] for _ in range(groups)]
    closed = [False] * groups
    for t in range(1, limit + 1):
        used: list[int] = []
        for g in range(groups):
            if closed[g]:
                continue
            options = [
                (score + log_p[t - 1][words[-1] if words else start][w] - diversity * used.count(w), [*words, w])
                for score, words in live[g]
                for w in range(model.vocabulary)
            ]
            options.sort(key=lambda o: -o[0])
            finished = [o for o in options[:width] if o[1][-1] == END or t == limit]
            ended[g] = sorted(ended[g] + [(s / t, w) for s, w in finished], key=lambda o: -o[0])[:width]
            live[g] = [o for o in options if o[1][-1] != END][:width]
            used += [words[-1] for _, words in live[g]]
            closed[g] = len(ended[g]) == width and live[g][0][0] / t <= ended[g][-1][0]
    return sorted(itertools.chain(*ended), key=lambda o: -o[0])


@pytest.mark.parametrize(("beams", "groups"), [(4, 1), (4, 2), (6, 3), (4, 4)])
@pytest.mark.parametrize("diversity", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("seed", [4, 12])  # in 12, one group ends before the others, and its words are free again
def test_diverse_beams_equal_a_loop(beams: int, groups: int, diversity: float, seed: int) -> None:
    model = Bigram(9, seed)
    model.table[:, END] += 1
    starts = torch.tensor([[0], [5], [7]])
    ours = beam(
        model,
        Prefix(model.embed(starts)),
        beams=beams,
        groups=groups,
        diversity=diversity,
        limit=6,
        end=END,
        n=beams,
    )
    for b, start in enumerate(starts[:, 0].tolist()):
        expected = diverse(model, start, beams, groups, 6, diversity if groups > 1 else 0.0)
        np.testing.assert_allclose(ours.scores[b].numpy(), [s for s, _ in expected], rtol=1e-5)
        if diversity:  # without it, groups find the same sequences, and their order is free
            assert [t[:n].tolist() for t, n in zip(ours.tokens[b], ours.lengths[b], strict=True)] == [
                w for _, w in expected
            ]


def test_diversity_makes_groups_differ_from_the_first_word() -> None:
    model = Bigram(9, seed=4)
    ours = beam(
        model, Prefix(model.embed(torch.tensor([[0]]))), beams=4, groups=4, diversity=50.0, limit=3, end=None, n=4
    )
    assert len(set(ours.tokens[0, :, 0].tolist())) == 4


def test_wide_beams_find_the_best_of_all_sequences() -> None:
    model = Bigram(5, seed=7)
    ours = beam(
        model,
        Prefix(model.embed(torch.tensor([[1]]))),
        beams=4,
        limit=3,
        end=None,
    )
    log_p = [model.after(place).log_softmax(-1) for place in range(3)]
    best = max(
        itertools.product(range(5), repeat=3),
        key=lambda w: float(log_p[0][1, w[0]] + log_p[1][w[0], w[1]] + log_p[2][w[1], w[2]]),
    )
    assert tuple(ours.tokens[0, 0].tolist()) == best


def decode_all(model: Any, prefix: Prefix, keys: list[str]) -> list[Decoded]:
    return [
        greedy(model, prefix, limit=LIMIT, end=END),
        sample(model, prefix, draws(Run(), keys, 2, LIMIT), end=END),
        beam(model, prefix, beams=4, groups=2, limit=LIMIT, end=END, n=2),
    ]


def test_results_do_not_depend_on_batch_mates(gpt2: Any) -> None:
    model, whole = HuggingFaceLM(gpt2), prefixes()
    assert whole.mask is not None
    together = decode_all(model, whole, list("abcde"))
    for i in (1, 2):
        alone = Prefix(whole.embeds[i : i + 1, whole.mask[i]])  # without its padding, too
        for one, many in zip(decode_all(model, alone, ["abcde"[i]]), together, strict=True):
            length = one.tokens.shape[-1]
            assert torch.equal(one.tokens[0], many.tokens[i, :, :length])
            torch.testing.assert_close(one.scores[0], many.scores[i], atol=1e-5, rtol=1e-5)


def test_cached_steps_equal_one_pass_without_cache(gpt2: Any) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small = SmallLM(VOCABULARY, width=16, depth=2, heads=2, context=20, memory=6)
    memory = torch.randn(5, 3, 6, generator=torch.Generator().manual_seed(1))
    bare = prefixes()
    for model, prefix in ((HuggingFaceLM(gpt2), bare), (small, Prefix(bare.embeds, bare.mask, memory))):
        for decoded in decode_all(model, prefix, list("abcde")):
            again = log_likelihood(model, prefix, decoded.tokens, decoded.lengths)
            torch.testing.assert_close(again, decoded.log_probs, atol=1e-5, rtol=1e-5)
            assert again.requires_grad
            assert not decoded.log_probs.requires_grad


def test_a_cache_stays_as_it_was_handed_out(gpt2: Any) -> None:
    model, prefix = HuggingFaceLM(gpt2), prefixes()
    assert prefix.mask is not None
    _, cache = model.logits(prefix.embeds, prefix.mask)
    before = [t.clone() for layer in cache.layers for t in layer]
    mask = torch.nn.functional.pad(prefix.mask, (0, 1), value=True)
    first, _ = model.logits(model.embed(torch.full((5, 1), 4)), mask, None, cache)
    second, _ = model.logits(model.embed(torch.full((5, 1), 4)), mask, None, cache)
    assert torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip(before, (t for layer in cache.layers for t in layer), strict=True))
    assert torch.equal(cache.take(torch.tensor([3, 3])).layers[0][0], cache.layers[0][0][[3, 3]])


def test_without_an_end_token_every_place_is_filled() -> None:
    model = Bigram(6, seed=0)
    prefix = Prefix(model.embed(torch.tensor([[1]])))
    for decoded in (greedy(model, prefix, limit=4, end=None), beam(model, prefix, beams=3, limit=4, end=None)):
        assert decoded.lengths.tolist() == [[4]]
        assert int(decoded.tokens.min()) >= 0


def test_inverse_cdf_never_draws_the_impossible() -> None:
    logits = torch.tensor([[-math.inf, 0.0, 0.0, -math.inf]]).expand(4, 4)
    assert inverse_cdf(logits, torch.tensor([0.0, 0.49, 0.5, 1.0], dtype=torch.float64)).tolist() == [1, 1, 2, 2]


def test_a_model_that_gives_nan_writes_nothing() -> None:
    broken = tiny_gpt2(VOCABULARY)
    with torch.no_grad():
        next(broken.parameters())[0, 0] = torch.nan
    with pytest.raises(DataError, match=r"gives NaN for the first token: .* use fp32\."):
        greedy(HuggingFaceLM(broken), prefixes(), limit=LIMIT, end=END)
    with pytest.raises(DataError, match=r"gives NaN for the first token: .* use fp32\."):
        beam(HuggingFaceLM(broken), prefixes(), beams=2, limit=LIMIT, end=END)


def test_bad_settings_are_named() -> None:
    model = Bigram(6, seed=0)
    prefix = Prefix(model.embed(torch.tensor([[1]])))
    with pytest.raises(UsageError, match="at least one token"):
        Prefix(torch.zeros(1, 0, 6))
    with pytest.raises(UsageError, match="must be \\(B, T\\)"):
        Prefix(torch.zeros(1, 2, 6), torch.ones(2, 1, dtype=torch.bool))
    with pytest.raises(UsageError, match="pad on the left"):
        Prefix(torch.zeros(1, 2, 6), torch.tensor([[True, False]]))
    with pytest.raises(UsageError, match="limit must be at least 1, got 0"):
        greedy(model, prefix, limit=0, end=None)
    with pytest.raises(UsageError, match="limit must be at least 1, got 0"):
        beam(model, prefix, beams=2, limit=0, end=None)
    for bad in ({"beams": 0}, {"beams": 3, "groups": 2}, {"beams": 2, "n": 3}, {"beams": 2, "groups": 0}):
        with pytest.raises(UsageError, match="beams >= n"):
            beam(model, prefix, limit=2, end=None, **bad)
    with pytest.raises(UsageError, match="fewer beams"):
        beam(model, prefix, beams=6, limit=2, end=None)
