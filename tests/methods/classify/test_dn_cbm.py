from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from diptych.core import Kit, MissingEvidence, Run, UsageError
from diptych.data.words.wordnet import WordNet
from diptych.methods.classify.dn_cbm import ACTIVE, DNCBM, TRIED
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, task
from tests.support.refused import refused

WORDS = ("fox", "tree", "cup", "horse", "sea")
QUICK = DNCBM(2.0, 1e-4, 20, 5e-3, (0.1, 0.01), 40, WORDS)


@pytest.fixture(autouse=True)
def published_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.methods.classify.dn_cbm.TRIED", TRIED)  # which the suite shortens


def test_scores_equal_a_numpy_loop(kit: Kit, run: Run) -> None:
    names, evidence, test = task(3)
    fitted = QUICK.fit(kit, names, evidence, run)
    d = fitted.dictionary
    e, be, b, w = (t.double().numpy() for t in (d.encoder, d.encoder_bias, d.bias, fitted.weight))
    image = SmallBackbone().image
    x = image.encode(image.inputs(list(test.items))).detach().double().numpy()
    expected = np.stack([w @ np.maximum(0, e @ (row - b) + be) for row in x])
    scores = fitted.scores(test.items, run)
    np.testing.assert_allclose(scores.values.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert scores.kind == "logit"


def test_reasons_add_up_to_the_logit_and_a_concept_can_be_switched_off(kit: Kit, run: Run) -> None:
    names, evidence, test = task(3)
    fitted = QUICK.fit(kit, names, evidence, run)
    best = fitted.scores(test.items, run).values.amax(dim=1)
    for reasons, value in zip(fitted.explain(test.items, run), best.tolist(), strict=True):
        assert sum(r.weight for r in reasons) == pytest.approx(value, abs=1e-4)
        assert [r.weight for r in reasons] == sorted((r.weight for r in reasons), reverse=True)
        assert all(r.text.split(" (concept ")[0] in WORDS for r in reasons)
    first = int(fitted.explain(test.items, run)[0][0].text.split("concept ")[1][:-1])
    spoiled = fitted.without((first,))
    assert all(f"(concept {first})" not in r.text for r in spoiled.explain(test.items, run)[0])
    assert fitted.without(()).scores(test.items, run).values.equal(fitted.scores(test.items, run).values)
    with pytest.raises(UsageError, match=r"positions in \[0, 31\], got"):
        fitted.without((32,))


def test_reasons_of_a_class_equal_a_loop(kit: Kit, run: Run) -> None:
    """Global explanation: over the images of a class, the sum of each concept's contributions that are positive."""
    names, evidence, test = task(3)
    fitted = QUICK.fit(kit, names, evidence, run)
    f = fitted.codes(test.items, run).double()
    told = set()
    for k in range(3):
        items = test.take(np.flatnonzero(test.labels() == k).tolist()).items
        total = [0.0] * f.shape[1]
        for i in np.flatnonzero(test.labels() == k):
            for unit in range(f.shape[1]):
                total[unit] += max(float(fitted.weight[k, unit]) * float(f[i, unit]), 0.0)
        reasons = fitted.explain_class(k, items, run)
        weights = [r.weight for r in reasons]
        assert weights == sorted(weights, reverse=True)
        assert weights == pytest.approx(sorted((t for t in total if t > 0), reverse=True), rel=1e-4, abs=1e-6)
        assert reasons[0].text == f"{fitted.names[int(np.argmax(total))]} (concept {int(np.argmax(total))})"
        told.add(reasons[0].text)
    assert len(told) > 1, "the classes must differ"
    with pytest.raises(UsageError, match=r"class position in \[0, 2\], got"):
        fitted.explain_class(3, test.items, run)


def test_a_negative_contribution_does_not_count_against_a_positive_one(kit: Kit, run: Run) -> None:
    names, evidence, test = task(2)
    fitted = QUICK.fit(kit, names, evidence, run)
    against = replace(fitted, weight=-fitted.weight.abs())
    assert against.explain_class(0, test.items, run) == []
    assert against.concepts_needed(test.items, run).tolist() == [0] * len(test)
    assert (against.concepts_needed(test.items, run, absolute=True) > 0).all()


@pytest.mark.parametrize("part", [0.5, 0.9, 0.95, 0.99, 1.0])
def test_so_many_concepts_carry_a_decision(part: float, kit: Kit, run: Run) -> None:
    names, evidence, test = task(3)
    fitted = QUICK.fit(kit, names, evidence, run)
    f, best = fitted.codes(test.items, run), fitted.scores(test.items, run).predicted()
    for absolute in (False, True):
        expected = []
        for row, k in zip(f, best.tolist(), strict=True):
            shares = [float(s) for s in fitted.weight[k] * row]
            left = sorted((abs(s) if absolute else max(s, 0.0) for s in shares), reverse=True)
            count = 0
            while sum(left[:count]) < part * sum(left) * (1 - 1e-12):
                count += 1
            expected.append(count)
        assert fitted.concepts_needed(test.items, run, part, absolute=absolute).tolist() == expected


@pytest.mark.parametrize("part", [0.0, 1.5, -1.0])
def test_a_part_is_a_share(part: float, kit: Kit, run: Run) -> None:
    names, evidence, test = task(2)
    with pytest.raises(UsageError, match=r"part must be in \(0, 1\], got"):
        QUICK.fit(kit, names, evidence, run).concepts_needed(test.items, run, part)


def test_concepts_see_no_label(kit: Kit, run: Run) -> None:
    """The dictionary, its sparsity and its names hang on the unlabelled images alone."""
    names, evidence, _ = task(3)
    assert evidence.train is not None
    method = replace(QUICK, sparsity=None)
    one = method.fit(kit, names, evidence, run)
    two = method.fit(kit, names, replace(evidence, train=task(3, shots=2)[1].train), run)
    assert torch.equal(one.dictionary.decoder, two.dictionary.decoder)
    assert one.names == two.names


def test_the_chosen_sparsity_shows_few_concepts(kit: Kit, run: Run) -> None:
    names, evidence, test = task(3)
    fitted = DNCBM(8.0, None, 20, probe=(0.1, 0.0), vocabulary=WORDS).fit(kit, names, evidence, run)
    assert float((fitted.codes(test.items, run) > 0).float().sum(dim=1).mean()) <= ACTIVE


def test_embeddings_are_not_normalised(kit: Kit, run: Run) -> None:
    """Pitfall: the codes of an image twice as far from the bias are not those of the image."""
    names, evidence, test = task(2)
    fitted = QUICK.fit(kit, names, evidence, run)
    image = SmallBackbone().image
    x = image.encode(image.inputs(list(test.items))).detach()
    torch.testing.assert_close(fitted.codes(test.items, run), fitted.dictionary.codes(x))
    assert not torch.allclose(fitted.dictionary.codes(x), fitted.dictionary.codes(normalize(x, dim=1)), atol=1e-3)


def test_general_words() -> None:
    words = WordNet.load().general_words()
    assert 9000 < len(words) < 10000
    assert {"dog", "vehicle", "colour"} & set(words) >= {"dog", "vehicle"}
    assert list(words) == sorted(set(words))


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task(2)
    refused(
        DNCBM,
        {"expansion": 0.0},
        {"sparsity": -1.0},
        {"epochs": -1},
        {"rate": 0.0},
        {"probe": (0.0, 1.0)},
        {"probe": (1.0, -1.0)},
    )
    with pytest.raises(MissingEvidence, match=r"unlabelled is missing or empty"):
        QUICK.fit(kit, names, replace(evidence, unlabelled=Pictures(())), run)
