from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diptych.core import DataError, Kit, MissingEvidence, Run, Text, TextPool, UsageError
from diptych.data.words.templates import SINGLE
from diptych.features.embed import embed
from diptych.methods.classify.discriminative_descriptions import (
    WEIGHTS,
    DiscriminativeDescriptions,
    responses,
    selected,
)
from diptych.methods.classify.zero_shot import ZeroShot
from tests.support.backbone import SmallBackbone
from tests.support.pictures import FEATURES, NAMES, table, task, texts
from tests.support.refused import refused
from tests.support.second_look import check_ceiling

SEED = 12
"""Of the backbone: one whose first look gives every class to some picture."""


@pytest.fixture
def kit() -> Kit:
    return Kit({"main": SmallBackbone(SEED)})


def unit(encoder, items) -> np.ndarray:
    v = encoder.encode(encoder.inputs(items)).detach().double().numpy()
    return v / np.linalg.norm(v, axis=1, keepdims=True)


@pytest.mark.parametrize(("k", "m", "weight"), [(2, 1, 0.0), (3, 2, 1.5), (4, 5, 3.0)])
def test_equals_a_numpy_loop(k: int, m: int, weight: float, run: Run) -> None:
    names, evidence, test = task(4)
    assert evidence.train is not None
    backbone = SmallBackbone(SEED)
    pool = [d for name in names for d in FEATURES[name]]
    e = unit(backbone.text, pool)
    captions = unit(backbone.text, [f"a photo of a {n}." for n in names])
    train, labels = evidence.train, evidence.train.labels()
    z_ref = unit(backbone.image, [train.items[i] for i in range(len(train))])
    s = np.array(
        [[np.mean([z @ t for z, y in zip(z_ref, labels, strict=True) if y == c]) for c in range(4)] for t in e]
    )

    fitted = DiscriminativeDescriptions(k, m, weight).fit(Kit({"main": backbone}), names, evidence, run)
    np.testing.assert_allclose(fitted.response.T.numpy(), s, rtol=1e-4, atol=1e-5)
    scores = fitted.scores(test.items, run)
    assert scores.candidates is not None
    fallen_back = 0
    for i in range(len(test)):
        (z,) = unit(backbone.image, [test.items[i]])
        caption = captions @ z
        best = sorted(range(4), key=lambda c: -caption[c])[:k]
        expected = caption.copy()
        for j in best:
            admissible = [d for d in range(len(pool)) if all(s[d, j] >= s[d, other] for other in best)]
            kept = sorted(admissible, key=lambda d: -np.mean([s[d, j] - s[d, other] for other in best]))[:m]
            if not kept:
                fallen_back += 1
                kept = [pool.index(d) for d in FEATURES[names.names[j]]][:m]
            expected[j] = (weight * caption[j] + np.mean([e[d] @ z for d in kept])) / (weight + 1)
        np.testing.assert_allclose(scores.values[i].numpy(), expected, rtol=1e-4, atol=1e-5)
        assert int(scores.predicted()[i]) == max(best, key=lambda c: expected[c])
    assert scores.kind == "cosine"


@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_reasons_are_the_caption_and_the_selected_texts_and_add_up_to_the_score(
    weight: float, kit: Kit, run: Run
) -> None:
    names, evidence, test = task(4)
    fitted = DiscriminativeDescriptions(3, 2, weight).fit(kit, names, evidence, run)
    scores = fitted.scores(test.items, run)
    for values, best, reasons in zip(
        scores.values, scores.predicted().tolist(), fitted.explain(test.items, run), strict=True
    ):
        assert sum(r.weight for r in reasons) == pytest.approx(float(values[best]), abs=1e-5)
        assert [r.weight for r in reasons] == sorted((r.weight for r in reasons), reverse=True)
        (caption,) = (r for r in reasons if r.text == f"a photo of a {names.names[best]}.")
        assert (caption.weight == 0) == (weight == 0)
        assert 1 <= len(reasons) - 1 <= 2
        assert {r.text for r in reasons if r is not caption} <= set(fitted.written)
    response = torch.zeros_like(fitted.response)
    response[0] = 1.0  # no text is admissible for the others, which have none of their own
    silent = replace(fitted, response=response, fallback=torch.full_like(fitted.fallback, -1))
    z = torch.nn.functional.normalize(embed(fitted.backbone.image, test.items, run), dim=-1)
    for own, best, reasons in zip(
        z, silent.scores(test.items, run).predicted().tolist(), silent.explain(test.items, run), strict=True
    ):
        if best:
            assert [r.text for r in reasons] == [f"a photo of a {names.names[best]}."]
            assert reasons[0].weight == pytest.approx(float(own @ fitted.captions[best]), abs=1e-6)


def test_the_first_own_texts_stand_in_where_none_is_admissible() -> None:
    response = torch.tensor([[0.3, 0.5, 0.4], [0.2, 0.1, 0.1], [0.0, 0.4, 0.0]])
    assert [t.tolist() for t in selected(response, 2)] == [[2, 1], [], []]
    assert [t.tolist() for t in selected(response[1:], 5)] == [[0, 2], [1]]
    assert [t.tolist() for t in selected(response[:1], 2)] == [[0, 1]], "a lone candidate admits everything"


def test_reference_labels_need_be_neither_sorted_nor_of_equal_count() -> None:
    """The pitfall: class means by reshaping."""
    g = torch.Generator().manual_seed(0)
    z, e, y = torch.randn(7, 5, generator=g), torch.randn(4, 5, generator=g), torch.tensor([2, 0, 1, 2, 2, 0, 2])
    s = responses(z, y, e, 3)
    for c in range(3):
        torch.testing.assert_close(s[c], (z[y == c] @ e.T).mean(dim=0))
    order = torch.randperm(7, generator=g)
    torch.testing.assert_close(responses(z[order], y[order], e, 3), s)


def test_all_reference_images_count() -> None:
    """The authors drop what a class has beyond the smallest one, and beyond 1,000; the card says that nothing is
    dropped here.
    """
    z, y = torch.eye(3), torch.tensor([0, 0, 1])
    torch.testing.assert_close(responses(z, y, torch.eye(3), 2), torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
    assert any("All reference images count" in line for line in DiscriminativeDescriptions.card.differs)


@pytest.mark.parametrize("given", [torch.float16, torch.float32])
def test_responses_and_their_gaps_are_no_half_precision(given: torch.dtype) -> None:
    """The pitfall: all in fp16, where 0.3 and 0.3001 are one number, so that rivals tie and each admits the other's
    text.
    """
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=given)
    e = torch.tensor([[0.3, 0.3001], [0.3001, 0.3]])
    assert e[0, 0].half() == e[0, 1].half(), "the pitfall must be one"
    s = responses(z, torch.tensor([0, 1]), e, 2)
    assert s.dtype == torch.float32
    torch.testing.assert_close(s, e.T, rtol=1e-6, atol=1e-7)
    assert [t.tolist() for t in selected(s, 2)] == [[1], [0]]


def test_a_fitted_system_holds_no_half_precision(kit: Kit, run: Run) -> None:
    names, evidence, _ = task(4)
    fitted = DiscriminativeDescriptions(weight=1.0).fit(kit, names, evidence, run)
    assert {t.dtype for t in (fitted.captions, fitted.texts, fitted.response)} == {torch.float32}


@pytest.mark.parametrize("k", [1, 2, 4])
def test_no_choice_of_texts_lifts_the_accuracy_above_the_captions_top_k(k: int, kit: Kit, run: Run) -> None:
    """The pitfall: accuracy is capped by the first look, so the cap is reported; a choice that is always right reaches
    just it.
    """
    names, evidence, test = task(4)
    fitted = DiscriminativeDescriptions(k, weight=0.0).fit(kit, names, evidence, run)
    check_ceiling(fitted, names, evidence, test, k, kit, run)


def test_one_candidate_or_a_heavy_caption_is_zero_shot(kit: Kit, run: Run) -> None:
    names, evidence, test = task(4)
    plain = ZeroShot(SINGLE).fit(kit, names, evidence, run).scores(test.items, run).predicted()
    assert len(plain.unique()) > 1
    for method in (DiscriminativeDescriptions(candidates=1), DiscriminativeDescriptions(weight=1e6)):
        assert torch.equal(method.fit(kit, names, evidence, run).scores(test.items, run).predicted(), plain)


def test_the_weight_is_the_best_on_val_and_the_smallest_of_ties(kit: Kit, run: Run) -> None:
    names, evidence, _ = task(4)
    assert evidence.val is not None

    def right(weight: float) -> int:
        predicted = (
            DiscriminativeDescriptions(weight=weight)
            .fit(kit, names, evidence, run)
            .scores(evidence.val.items, run)
            .predicted()
        )
        return int((predicted.numpy() == evidence.val.labels()).sum())

    counts = [right(w) for w in WEIGHTS]
    assert len(WEIGHTS) == 160
    assert WEIGHTS[-1] == 39.75
    assert DiscriminativeDescriptions().fit(kit, names, evidence, run).weight == WEIGHTS[int(np.argmax(counts))]
    assert len(set(counts)) > 1, "the task must make the choice matter"


def test_an_empty_list_borrows_from_the_pool_or_speaks_by_its_caption(kit: Kit, run: Run) -> None:
    names, evidence, test = task(2)
    half = replace(evidence, texts=TextPool({"red fox": (Text("bushy tail"),), "oak tree": ()}))
    fitted = DiscriminativeDescriptions(weight=0.0).fit(kit, names, half, run)
    assert fitted.fallback.tolist() == [[0, -1, -1, -1, -1], [-1] * 5]
    borrowed = replace(
        fitted, response=torch.tensor([[0.0], [1.0]])
    )  # the pictures of the class without texts respond more
    torch.testing.assert_close(borrowed._heads((0, 1)), torch.stack([fitted.texts[0]] * 2))
    silent = replace(fitted, response=torch.tensor([[1.0], [0.0]]), weight=1.5)
    torch.testing.assert_close(silent._heads((0, 1))[1], fitted.captions[1])
    z = torch.nn.functional.normalize(embed(fitted.backbone.image, test.items, run), dim=-1)
    torch.testing.assert_close(silent.scores(test.items, run).values[:, 1], z @ fitted.captions[1])


def test_swapped_lists_change_nothing_where_all_are_selected(kit: Kit, run: Run) -> None:
    """The reference images, not the writer, say whose a text is: only the fall-back looks at the lists."""
    names, evidence, test = task(2)
    own = texts().texts
    swapped = replace(evidence, texts=TextPool({"red fox": own["oak tree"], "oak tree": own["red fox"]}))
    one, two = (
        DiscriminativeDescriptions(weight=1.0).fit(kit, names, e, run).scores(test.items, run)
        for e in (evidence, swapped)
    )
    torch.testing.assert_close(one.values, two.values)


@pytest.mark.parametrize(("classes", "shots", "m"), [(1, 1, 1), (2, 1, 5), (4, 3, 50)])
def test_sizes(classes: int, shots: int, m: int, kit: Kit, run: Run) -> None:
    names, evidence, _ = task(classes, shots)
    fitted = DiscriminativeDescriptions(texts=m).fit(kit, names, evidence, run)
    pool = sum(len(FEATURES[name]) for name in names)
    assert (fitted.captions.shape, fitted.texts.shape, fitted.response.shape) == (
        (classes, 16),
        (pool, 16),
        (classes, pool),
    )
    assert fitted.fallback.shape == (classes, m)
    assert fitted.candidates == min(3, classes)
    for items in (0, 1, 5):
        assert fitted.scores(table([0] * items, 5).items, run).values.shape == (items, classes)


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task(3)
    refused(DiscriminativeDescriptions, {"candidates": 0}, {"texts": 0}, {"weight": -1.0})
    for field in ("train", "texts", "val"):
        with pytest.raises(MissingEvidence, match=field):
            DiscriminativeDescriptions().fit(kit, names, replace(evidence, **{field: None}), run)
    assert DiscriminativeDescriptions(weight=2.0).fit(kit, names, replace(evidence, val=None), run).weight == 2.0
    with pytest.raises(MissingEvidence, match="no list for 'tea cup'"):
        DiscriminativeDescriptions().fit(kit, names, replace(evidence, texts=texts(NAMES[:2])), run)
    with pytest.raises(UsageError, match=r"Every list of evidence\.texts is empty"):
        DiscriminativeDescriptions().fit(kit, names, replace(evidence, texts=TextPool(dict.fromkeys(NAMES, ()))), run)
    with pytest.raises(DataError, match="No train image of class 'tea cup'"):
        DiscriminativeDescriptions().fit(kit, names, replace(evidence, train=table([0, 1, 1], 1)), run)


def test_the_row_without_val_weighs_captions_as_much_as_descriptions(kit: Kit, run: Run) -> None:
    names, evidence, _ = task()
    row = DiscriminativeDescriptions.card.variants["no val"]
    assert DiscriminativeDescriptions(**row).fit(kit, names, replace(evidence, val=None), run).weight == 1.0
