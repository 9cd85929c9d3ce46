from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.core import ClassNames, Evidence, Kit, MissingPart, Run, UsageError
from diptych.data.words.templates import SINGLE
from diptych.methods.classify.zero_shot import FittedZeroShot, ZeroShot
from tests.support.backbone import SmallBackbone
from tests.support.pictures import table, task

TEMPLATES = ("a photo of a {}.", "art of the {}.", "a small {}.")


def oracle(backbone: SmallBackbone, names: ClassNames, templates: tuple[str, ...], images: list) -> np.ndarray:
    def embed(encoder, items) -> np.ndarray:
        v = encoder.encode(encoder.inputs(items)).detach().double().numpy()
        return v / np.linalg.norm(v, axis=1, keepdims=True)

    head = np.stack([embed(backbone.text, [t.replace("{}", n) for t in templates]).mean(0) for n in names])
    head /= np.linalg.norm(head, axis=1, keepdims=True)
    scale, bias = (float(v) for v in backbone.scale())
    return scale * embed(backbone.image, images) @ head.T + bias


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
@pytest.mark.parametrize("own", [None, ("the {}",)])
def test_equals_a_numpy_restatement(score: str, own: tuple[str, ...] | None, run: Run) -> None:
    names, _, test = task()
    names = ClassNames(names.names, TEMPLATES)
    backbone = SmallBackbone(score=score)  # type: ignore[arg-type]
    scores = ZeroShot(own).fit(Kit({"main": backbone}), names, Evidence(), run).scores(test.items, run)
    expected = oracle(backbone, names, own or TEMPLATES, [test.items[i] for i in range(len(test))])
    np.testing.assert_allclose(scores.values.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert scores.kind == "logit"


def test_variants_are_one_template_and_the_ensemble(kit: Kit, run: Run) -> None:
    names = ClassNames(task()[0].names, TEMPLATES)
    head = {
        label: ZeroShot(**kwargs).fit(kit, names, Evidence(), run).head
        for label, kwargs in ZeroShot.card.variants.items()
    }
    fitted = ZeroShot(**ZeroShot.card.variants["single"]).fit(kit, names, Evidence(), run)
    assert fitted.classes.templates == SINGLE, "results carry the hash of the templates that were used"
    alone = ZeroShot().fit(kit, ClassNames(names.names, TEMPLATES[:1]), Evidence(), run).head
    assert torch.equal(head["single"], alone)
    assert not torch.allclose(head["ensemble"], alone)


@pytest.mark.parametrize(("classes", "items"), [(1, 1), (2, 5), (4, 3)])
def test_sizes(classes: int, items: int, kit: Kit, run: Run) -> None:
    fitted = ZeroShot().fit(kit, task(classes)[0], Evidence(), run)
    assert isinstance(fitted, FittedZeroShot)
    assert fitted.head.shape == (classes, 16)
    torch.testing.assert_close(fitted.head.norm(dim=1), torch.ones(classes))
    assert fitted.scores(table([0] * items, 5).items, run).values.shape == (items, classes)


def test_a_template_without_a_place_for_the_name_is_named(kit: Kit, run: Run) -> None:
    with pytest.raises(UsageError, match="exactly one"):
        ZeroShot(("a photo.",)).fit(kit, task()[0], Evidence(), run)


def test_an_empty_kit_is_named(run: Run) -> None:
    with pytest.raises(MissingPart, match="Backbone"):
        ZeroShot().fit(Kit(), task()[0], Evidence(), run)
