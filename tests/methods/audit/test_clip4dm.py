from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from diptych.core import Column, DataError, Evidence, Kit, MissingHook, Run, Table, UsageError
from diptych.methods.audit.clip4dm import CLIP4DM, attributions, chosen, f_clipscore
from diptych.nn.text.word_spans import token_spans, words
from tests.support.backbone import SmallBackbone
from tests.support.deep_backbone import DeepBackbone
from tests.support.pictures import Pictures, picture
from tests.support.refused import refused
from tests.support.towers import case

TEXTS = ("a red fox asleep.", "two tea cups on an oak table", "dog")


def pairs(texts: tuple[str, ...] = TEXTS) -> Table[Any]:
    images = Pictures(tuple(picture(i % 4, i) for i in range(len(texts))))
    return Table(images, {"captions": Column("captions", tuple((t,) for t in texts))})


def fitted(**settings: Any) -> Any:
    return CLIP4DM(**{"layers": 2, **settings}).fit(Kit({"main": DeepBackbone()}), Evidence(), Run())


def test_attributions_are_the_libraries_gradients_of_its_own_attentions() -> None:
    c = case("HF CLIP text")
    image = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    model: Any = c.module
    model.set_attn_implementation("eager")
    try:
        out = model.text_model(input_ids=c.x, output_attentions=True)
        cosine = cosine_similarity(model.text_projection(out.pooler_output), image, dim=-1)
        probabilities = out.attentions[-2:]
        grads = torch.autograd.grad(cosine.sum(), probabilities)
    finally:
        model.set_attn_implementation("sdpa")
    maps = sum((g * a.detach()).mean(1) for g, a in zip(grads, probabilities, strict=True)) / 2
    ends = (c.x == 59).int().argmax(1)
    found_cosine, found = attributions(c.tower, c.x, image, layers=2)
    torch.testing.assert_close(found_cosine, cosine.detach())
    torch.testing.assert_close(found, maps[torch.arange(3), ends], rtol=1e-4, atol=1e-7)  # type: ignore[index]
    assert (found < 0).any()


def test_frozen_weights_and_no_grad_change_nothing() -> None:
    c = case("HF CLIP text")
    image = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    free = attributions(c.tower, c.x, image, 2)[1]
    flags = [p.requires_grad for p in c.module.parameters()]
    c.module.requires_grad_(False)
    try:
        with torch.no_grad():
            assert torch.equal(attributions(c.tower, c.x, image, 2)[1], free)
    finally:
        for p, flag in zip(c.module.parameters(), flags, strict=True):
            p.requires_grad_(flag)


def test_a_word_is_the_mean_of_its_tokens_in_the_sentence() -> None:
    scorer = fitted()
    scores = scorer.score(pairs(), Run(batch=2))
    assert [[p.text for p in own] for own in scores.parts] == [
        ["a", "red", "fox", "asleep", "."],
        ["two", "tea", "cups", "on", "an", "oak", "table"],
        ["dog"],
    ]
    text = scorer.template + TEXTS[0]
    z = scorer.backbone.image.encode(scorer.backbone.image.inputs([pairs().items[0]]))
    cosine, r = attributions(scorer.backbone.tower("text"), scorer.backbone.text.inputs([text]), z, 2)
    assert scores.columns["cosine"][0] == pytest.approx(float(cosine[0]), abs=1e-6)
    spans = token_spans(scorer.backbone.text, text, words(text))
    assert spans[0][0] == 1
    own = [float(r[0, a:b].mean()) for a, b in spans[3:]]
    assert [p.weight for p in scores.parts[0]] == pytest.approx(own, abs=1e-8)
    assert all(TEXTS[0][p.start : p.end] == p.text for p in scores.parts[0])


def test_the_last_word_ends_before_the_end_token() -> None:
    encoder = DeepBackbone().text
    assert token_spans(encoder, "a b c", words("a b c")) == [(1, 2), (2, 3), (3, 4)]
    assert token_spans(encoder, "", []) == []
    assert words("It's  a cat.") == [(0, 4), (6, 7), (8, 11), (11, 12)]


def test_choices_and_the_score() -> None:
    assert chosen([0.1, 0.3], ["a", "b"], "most-negative", -1.0) == [0]
    assert chosen([-0.1, -0.2, -0.3], ["a", "b", "."], "threshold", -0.05) == [0, 1]
    assert chosen([0.1], ["a"], "threshold", -0.05) == []
    assert torch.equal(
        f_clipscore(torch.tensor([-2.0, -2.0, 0.0]), torch.tensor([0.25, -1.0, 0.5])), torch.tensor([-1.5, -2.0, 0.0])
    )
    scores = fitted(threshold=1.0).score(pairs(), Run())
    for value, neg, cosine, own in zip(
        scores.values, scores.columns["neg"], scores.columns["cosine"], scores.parts, strict=True
    ):
        assert float(neg) == pytest.approx(sum(p.weight for p in own if p.text not in ".,"), rel=1e-4)
        assert float(value) == pytest.approx(float(neg) * (1 - max(float(cosine), 0)), rel=1e-4)
    assert torch.equal(fitted(threshold=-1.0).score(pairs(), Run()).values, torch.zeros(3))


def test_batch_mates_do_not_matter() -> None:
    whole = fitted().score(pairs(), Run(batch=3))
    alone = fitted().score(pairs(), Run(batch=1))
    for a, b in zip(whole.parts, alone.parts, strict=True):
        np.testing.assert_allclose([p.weight for p in a], [p.weight for p in b], rtol=1e-3, atol=1e-7)


def test_bad_input_is_named() -> None:
    with pytest.raises(MissingHook, match="small"):
        CLIP4DM().fit(Kit({"main": SmallBackbone()}), Evidence(), Run())
    with pytest.raises(UsageError, match=r"layers must be at most 2 .* got 9"):
        fitted(layers=9)
    refused(CLIP4DM, {"choice": "lowest"})
    with pytest.raises(DataError, match="no captions"):
        fitted().score(Table(pairs().items), Run())
    with pytest.raises(DataError, match="picture 1 has no caption"):
        fitted().score(pairs(("a", " ", "b")), Run())
    with pytest.raises(UsageError, match="shorten"):
        fitted().score(pairs(("dog " * 80,)), Run())
