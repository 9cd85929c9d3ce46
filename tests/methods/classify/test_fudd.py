from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from diptych.core import Ask, Evidence, Kit, MissingEvidence, MissingPart, Run, Text, TextPool, UsageError
from diptych.data.words.templates import SINGLE
from diptych.methods.classify.fudd import FittedFuDD, FuDD, follow_ups
from diptych.methods.classify.zero_shot import ZeroShot
from tests.support.backbone import SmallBackbone
from tests.support.pictures import NAMES, table, task, texts
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


@pytest.mark.parametrize("k", [2, 3, 4])
def test_equals_a_numpy_loop(k: int, run: Run) -> None:
    names, evidence, test = task(4)
    assert evidence.texts is not None
    pool = {
        key: values
        for key, values in evidence.texts.texts.items()
        if key not in ("red fox | tea cup", "tea cup | red fox")
    }
    backbone = SmallBackbone(SEED)
    scores = (
        FuDD(candidates=k)
        .fit(Kit({"main": backbone}), names, Evidence(texts=TextPool(pool)), run)
        .scores(test.items, run)
    )
    assert scores.candidates is not None
    for i in range(len(test)):
        (z,) = unit(backbone.image, [test.items[i]])
        first = unit(backbone.text, [f"a photo of a {n}." for n in names]) @ z
        best = sorted(range(4), key=lambda c: -first[c])[:k]
        expected = first.copy()
        for a in best:
            own = set()
            for b in best:
                if b != a:
                    pair = pool.get(f"{names.names[a]} | {names.names[b]}", ())
                    own |= {t.value for t in pair} or {f"a photo of a {names.names[a]}."}
            w = unit(backbone.text, sorted(own)).mean(axis=0)
            expected[a] = z @ (w / np.linalg.norm(w))
        np.testing.assert_allclose(scores.values[i].numpy(), expected, rtol=1e-4, atol=1e-5)
        assert sorted(scores.candidates[i].nonzero()[:, 0].tolist()) == sorted(best)
        assert int(scores.predicted()[i]) == max(best, key=lambda c: expected[c])
    assert scores.kind == "cosine"


@pytest.mark.parametrize("k", [1, 3, None])
def test_reasons_are_the_texts_of_the_top_class_and_add_up_to_its_score(k: int | None, kit: Kit, run: Run) -> None:
    names, evidence, test = task(4)
    assert evidence.texts is not None
    fitted = FuDD(candidates=k).fit(kit, names, evidence, run)
    scores = fitted.scores(test.items, run)
    for values, best, reasons in zip(
        scores.values, scores.predicted().tolist(), fitted.explain(test.items, run), strict=True
    ):
        assert sum(r.weight for r in reasons) == pytest.approx(float(values[best]), abs=1e-5)
        assert [r.weight for r in reasons] == sorted((r.weight for r in reasons), reverse=True)
        own = {
            t.value for key, ts in evidence.texts.texts.items() if key.startswith(f"{names.names[best]} | ") for t in ts
        }
        assert {r.text for r in reasons} <= own | {f"a photo of a {names.names[best]}."}
        assert k != 1 or [r.text for r in reasons] == [f"a photo of a {names.names[best]}."]


def test_one_candidate_is_the_first_look(kit: Kit, run: Run) -> None:
    """The pitfall: a list of one candidate must not take the texts of the first class."""
    names, evidence, test = task(4)
    alone = FuDD(candidates=1).fit(kit, names, evidence, run).scores(test.items, run)
    plain = ZeroShot(SINGLE).fit(kit, names, evidence, run).scores(test.items, run)
    assert torch.equal(alone.predicted(), plain.predicted())
    assert len(plain.predicted().unique()) > 1
    assert alone.candidates is not None
    assert alone.candidates.sum(dim=1).tolist() == [1] * len(test)
    torch.testing.assert_close(20 * alone.values, plain.values, rtol=1e-4, atol=1e-4)


def test_all_classes_are_one_classifier_for_every_image(kit: Kit, run: Run) -> None:
    names, evidence, test = task(4)
    whole = FuDD(candidates=None).fit(kit, names, evidence, run).scores(test.items, run)
    many = FuDD(candidates=99).fit(kit, names, evidence, run).scores(test.items, run)
    assert torch.equal(whole.values, many.values)
    assert whole.candidates is not None
    assert bool(whole.candidates.all())


def test_texts_are_encoded_as_written(run: Run) -> None:
    """Pitfall: ``capitalize()`` lower-cases the rest of a sentence, which a tokenizer that knows cases notices: names
    are lost.
    """
    names, _, test = task(2)
    backbone = SmallBackbone(SEED)
    fox, oak = "a Red Fox in Yellowstone.", "an Oak in the UK."
    assert not np.allclose(unit(backbone.text, [fox]), unit(backbone.text, [fox.capitalize()])), (
        "the pitfall must be one"
    )
    pool = TextPool({"red fox | oak tree": (Text(fox),), "oak tree | red fox": (Text(oak),)})
    fitted = FuDD().fit(Kit({"main": backbone}), names, Evidence(texts=pool), run)
    expected = unit(backbone.image, list(test.items)) @ unit(backbone.text, [fox, oak]).T
    np.testing.assert_allclose(fitted.scores(test.items, run).values.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert {r.text for reasons in fitted.explain(test.items, run) for r in reasons} <= {fox, oak}


@pytest.mark.parametrize("k", [1, 2, 4])
def test_no_follow_up_lifts_the_accuracy_above_the_first_looks_top_k(k: int, kit: Kit, run: Run) -> None:
    """Pitfall: accuracy is capped by the first look, so the cap is reported; a follow-up that is always right reaches
    just it.
    """
    names, evidence, test = task(4)
    fitted = FuDD(candidates=k).fit(kit, names, evidence, run)
    check_ceiling(fitted, names, evidence, test, k, kit, run)


def test_candidates_outrank_all_others(kit: Kit, run: Run) -> None:
    names, evidence, test = task(4)
    scores = FuDD(candidates=2).fit(kit, names, evidence, run).scores(test.items, run)
    assert scores.candidates is not None
    ranked = scores.ranked()
    for row, chosen in zip(ranked, scores.candidates, strict=True):
        assert row[chosen].min() > row[~chosen].max()


def test_the_text_of_a_pair_is_of_the_class_that_stands_first(kit: Kit, run: Run) -> None:
    """The pitfall: partners swapped. Pairs that repeat the template are zero-shot; swapped, each image gets its rival's
    name.
    """
    names, _, test = task(2)

    def pool(swap: bool) -> Evidence:
        a, b = ("oak tree", "red fox") if swap else ("red fox", "oak tree")
        of = {"red fox | oak tree": (Text(f"a photo of a {a}."),), "oak tree | red fox": (Text(f"a photo of a {b}."),)}
        return Evidence(texts=TextPool(of))

    plain = ZeroShot(SINGLE).fit(kit, names, Evidence(), run).scores(test.items, run).predicted()
    assert torch.equal(FuDD().fit(kit, names, pool(swap=False), run).scores(test.items, run).predicted(), plain)
    assert torch.equal(FuDD().fit(kit, names, pool(swap=True), run).scores(test.items, run).predicted(), 1 - plain)


def test_the_mean_is_normalised_again() -> None:
    """Unlike ``description``: agreement among the texts of a class must not count. Two texts of one class almost
    cancel.
    """
    names, _, test = task(2)
    backbone = SmallBackbone(SEED)
    fitted = FuDD().fit(Kit({"main": backbone}), names, Evidence(texts=texts(NAMES[:2])), Run())
    values = fitted.scores(test.items, Run()).values
    (z,) = unit(backbone.image, [test.items[0]])
    own = unit(backbone.text, [t.value for t in texts().texts["red fox | oak tree"]]).mean(axis=0)
    assert float(values[0, 0]) == pytest.approx(float(z @ own / np.linalg.norm(own)), abs=1e-5)
    assert abs(float(z @ own) - float(values[0, 0])) > 1e-3, "the test must tell the two apart"


def test_each_sentence_is_encoded_once_and_only_pairs_that_occur(kit: Kit) -> None:
    names, evidence, test = task(4)
    run = Run()
    fitted = FuDD(candidates=2).fit(kit, names, evidence, run)
    before = run.tally["encoded"]
    scores = fitted.scores(test.items, run)
    assert scores.candidates is not None
    asked = {tuple(row.nonzero()[:, 0].tolist()) for row in scores.candidates}
    assert 0 < len(asked) < len(list(combinations(range(4), 2))), "some pairs must not occur"
    assert evidence.texts is not None
    sentences = {
        t.value
        for a, b in asked
        for key in (f"{names.names[a]} | {names.names[b]}", f"{names.names[b]} | {names.names[a]}")
        for t in evidence.texts.texts[key]
    }
    assert run.tally["encoded"] - before == len(sentences) + len({test.items.key(i) for i in range(len(test))})


def test_a_doubled_text_counts_once_and_a_missing_pair_is_the_template() -> None:
    pairs = {"a | b": ("same", "own"), "b | a": ("other",), "a | c": ("same",), "c | a": ("third",)}
    assert follow_ups(("a", "b", "c"), pairs, "the {}.") == [("same", "own"), ("other", "the b."), ("third", "the c.")]


class Echo:
    """Writes what the pool of the tests holds, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asks: list[Ask] = []

    def write(self, asks: Sequence[Ask], /) -> list[list[Text]]:
        self.asks += asks
        return [list(texts().texts.get(ask.about, ()))[: ask.n] for ask in asks]


def test_a_writer_stands_in_for_the_pool(kit: Kit, run: Run) -> None:
    names, evidence, test = task(4)
    writer = Echo()
    both = Kit({**kit.parts, "writer": writer})
    stored = FuDD().fit(kit, names, evidence, run)
    written = FuDD().fit(both, names, Evidence(), run)
    assert written.pairs == stored.pairs
    assert torch.equal(written.scores(test.items, run).values, stored.scores(test.items, run).values)
    assert len(writer.asks) == 12
    assert all("{" not in ask.prompt and ask.about.split(" | ")[0] in ask.prompt for ask in writer.asks)
    FuDD().fit(both, names, evidence, run)
    assert len(writer.asks) == 12, "what the pool holds is not asked for"


def test_a_writer_is_asked_only_for_pairs_that_occur_among_the_unlabelled(kit: Kit, run: Run) -> None:
    names, _, test = task(4)
    writer = Echo()
    FuDD(candidates=2).fit(Kit({**kit.parts, "writer": writer}), names, Evidence(unlabelled=test.items), run)
    rows = FuDD(candidates=2).fit(kit, names, task(4)[1], run).scores(test.items, run).candidates
    assert rows is not None
    occurring = {tuple(row.nonzero()[:, 0].tolist()) for row in rows}
    assert 0 < len(writer.asks) == 2 * len(occurring) < 12


def test_a_part_that_is_no_writer_is_named(kit: Kit, run: Run) -> None:
    with pytest.raises(MissingPart, match="Writer named 'writer'"):
        FuDD().fit(Kit({**kit.parts, "writer": 3}), *task(4)[:2], run)


@pytest.mark.parametrize(("classes", "items", "k"), [(1, 1, 10), (2, 5, 1), (4, 3, 2), (4, 0, 3)])
def test_sizes(classes: int, items: int, k: int, kit: Kit, run: Run) -> None:
    names, evidence, _ = task(classes)
    fitted = FuDD(candidates=k).fit(kit, names, evidence, run)
    assert isinstance(fitted, FittedFuDD)
    assert fitted.head.shape == (classes, 16)
    assert len(fitted.pairs) == classes * (classes - 1)
    scores = fitted.scores(table([0] * items, 5).items, run)
    assert scores.values.shape == (items, classes)
    assert scores.candidates is not None
    assert scores.candidates.sum(dim=1).tolist() == [min(k, classes)] * items


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, _ = task(3)
    refused(FuDD, {"candidates": 0})
    with pytest.raises(UsageError, match="exactly one"):
        FuDD(template="a photo.").fit(kit, names, evidence, run)
    with pytest.raises(MissingEvidence, match=r"evidence\.texts is missing"):
        FuDD().fit(kit, names, replace(evidence, texts=None), run)
    only_lists = TextPool({name: (Text("x"),) for name in names})
    with pytest.raises(MissingEvidence, match="no two of these classes apart"):
        FuDD().fit(kit, names, replace(evidence, texts=only_lists), run)
    one_side = TextPool({"red fox | tea cup": (Text("x"),)})
    with pytest.raises(MissingEvidence, match="one side"):
        FuDD().fit(kit, names, replace(evidence, texts=one_side), run)
