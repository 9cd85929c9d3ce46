from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diptych.core import ClassNames, Evidence, Kit, MissingEvidence, MissingHook, Run, Text, TextPool
from diptych.data.words.sentences import joined
from diptych.data.words.templates import SINGLE
from diptych.methods.classify.description import Description, FittedDescription, aggregated
from diptych.methods.classify.zero_shot import ZeroShot
from tests.support.backbone import SmallBackbone
from tests.support.pictures import FEATURES, NAMES, table, task, texts
from tests.support.refused import refused


def pool(**lists: tuple[str, ...]) -> TextPool:
    return TextPool({name.replace("_", " "): tuple(Text(v) for v in values) for name, values in lists.items()})


def unit(encoder, items) -> np.ndarray:
    v = encoder.encode(encoder.inputs(items)).detach().double().numpy()
    return v / np.linalg.norm(v, axis=1, keepdims=True)


@pytest.mark.parametrize("aggregate", ["mean", "max", "sum"])
@pytest.mark.parametrize(("before", "after"), [("", ""), ("a photo of a ", ".")])
def test_equals_a_numpy_loop(aggregate: str, before: str, after: str, run: Run) -> None:
    names, evidence, test = task(4)
    backbone = SmallBackbone()
    fitted = Description(before, after, aggregate).fit(Kit({"main": backbone}), names, evidence, run)  # type: ignore[arg-type]
    clause = {
        "a white chin": "which is a white chin",
        "used for drinking": "which is used for drinking",
        "often under water": "which often under water",
    }
    expected = np.zeros((len(test), 4))
    for i in range(len(test)):
        (z,) = unit(backbone.image, [test.items[i]])
        for k, name in enumerate(names):
            cosines = []
            for feature in FEATURES[name]:
                sentence = f"{before}{name}, {clause.get(feature, 'which has ' + feature)}{after}"
                cosines.append(float(z @ unit(backbone.text, [sentence])[0]))
            expected[i, k] = {"mean": np.mean, "max": np.max, "sum": np.sum}[aggregate](cosines)
    scores = fitted.scores(test.items, run)
    np.testing.assert_allclose(scores.values.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert scores.kind == ("logit" if aggregate == "sum" else "cosine")
    assert scores.candidates is None
    assert fitted.classes.templates == (f"{before}{{}}{after}",)


def test_the_mean_is_not_normalised_again() -> None:
    """Two opposed features of the first class cancel; normalised again, what little is left would win."""
    e = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1], [-1.0, 0.1], [0.5, 0.5]]), dim=1)
    owner, z = torch.tensor([0, 0, 1]), torch.tensor([[0.0, 1.0]])
    cosines = z @ e.T
    assert aggregated(cosines, owner, 2, "mean").argmax() == 1
    heads = torch.nn.functional.normalize(torch.stack([e[:2].mean(dim=0), e[2]]), dim=1)
    assert (z @ heads.T).argmax() == 0, "the pitfall must be one"


def test_without_features_it_is_zero_shot(kit: Kit, run: Run) -> None:
    names, _, test = task(4)
    empty = Evidence(texts=TextPool(dict.fromkeys(NAMES, ())))
    fitted = Description("a photo of a ", ".").fit(kit, names, empty, run)
    plain = ZeroShot(SINGLE).fit(kit, names, Evidence(), run)
    torch.testing.assert_close(
        20 * fitted.scores(test.items, run).values, plain.scores(test.items, run).values, rtol=1e-4, atol=1e-4
    )
    assert fitted.classes == plain.classes


def test_one_empty_list_among_others_is_the_bare_name(kit: Kit, run: Run) -> None:
    names, _, test = task(2)
    some = Evidence(texts=pool(red_fox=(), oak_tree=("lobed leaves",)))
    fitted = Description().fit(kit, names, some, run)
    assert torch.isfinite(fitted.scores(test.items, run).values).all()
    assert fitted.descriptions == ("", "lobed leaves")
    (reasons, *_) = Description().fit(kit, ClassNames(("red fox",)), some, run).explain(test.items, run)
    assert [r.text for r in reasons] == ["red fox"]


def test_lists_are_found_by_name_and_not_by_place(kit: Kit, run: Run) -> None:
    names, evidence, test = task(3)
    assert evidence.texts is not None
    turned = replace(evidence, texts=TextPool(dict(reversed(evidence.texts.texts.items()))))
    one, two = (Description().fit(kit, names, e, run).scores(test.items, run).values for e in (evidence, turned))
    assert torch.equal(one, two)


@pytest.mark.parametrize("aggregate", ["mean", "max", "sum"])
def test_reasons_add_up_to_the_score_of_the_top_class(aggregate: str, kit: Kit, run: Run) -> None:
    names, evidence, test = task(4)
    fitted = Description(aggregate=aggregate).fit(kit, names, evidence, run)  # type: ignore[arg-type]
    scores = fitted.scores(test.items, run)
    found = fitted.explain(test.items, run)
    assert len(found) == len(test)
    for reasons, values, best in zip(found, scores.values, scores.predicted().tolist(), strict=True):
        weights = [r.weight for r in reasons]
        assert sum(weights) == pytest.approx(float(values[best]), abs=1e-5)
        assert sorted(r.text for r in reasons) == sorted(FEATURES[names.names[best]])
        if aggregate != "max":
            assert weights == sorted(weights, reverse=True)


def test_swapped_lists_change_who_wins(kit: Kit, run: Run) -> None:
    """Features drive the scores: with the names in no sentence's way, each image follows its list to the other
    class.
    """
    names, evidence, test = task(2)
    assert evidence.texts is not None
    own = evidence.texts.texts
    swapped = replace(evidence, texts=TextPool({"red fox": own["oak tree"], "oak tree": own["red fox"]}))
    one, two = (Description().fit(kit, names, e, run) for e in (evidence, swapped))
    assert one.descriptions[:3] == two.descriptions[2:]
    assert not torch.allclose(one.scores(test.items, run).values, two.scores(test.items, run).values, atol=1e-3)


@pytest.mark.parametrize(
    ("description", "clause"),
    [
        ("a small bird", "which is a small bird"),
        ("An oval shell", "which is An oval shell"),
        ("antennae", "which has antennae"),
        ("canine teeth", "which has canine teeth"),
        ("mayor's chain", "which has mayor's chain"),
        ("has red feet", "which has red feet"),
        ("can swim", "which can swim"),
        ("used for cooking", "which is used for cooking"),
        ("unused shelf", "which has unused shelf"),
    ],
)
def test_joining_looks_at_whole_words(description: str, clause: str) -> None:
    assert joined(description) == clause


@pytest.mark.parametrize(("classes", "items"), [(1, 1), (2, 5), (4, 3)])
def test_sizes(classes: int, items: int, kit: Kit, run: Run) -> None:
    names, evidence, _ = task(classes)
    fitted = Description().fit(kit, names, evidence, run)
    sentences = sum(len(FEATURES[name]) for name in names)
    assert isinstance(fitted, FittedDescription)
    assert fitted.embeddings.shape == (sentences, 16)
    assert fitted.owner.shape == (sentences,)
    assert fitted.scores(table([0] * items, 5).items, run).values.shape == (items, classes)


def test_bad_input(kit: Kit, run: Run) -> None:
    names, evidence, test = task(3)
    refused(Description, {"aggregate": "median"})
    with pytest.raises(MissingEvidence, match=r"evidence\.texts is missing"):
        Description().fit(kit, names, replace(evidence, texts=None), run)
    with pytest.raises(MissingEvidence, match="no list for 'tea cup'"):
        Description().fit(kit, names, replace(evidence, texts=texts(NAMES[:2])), run)
    with pytest.raises(MissingHook, match="gives no reasons"):
        ZeroShot().fit(kit, names, evidence, run).explain(test.items, run)
